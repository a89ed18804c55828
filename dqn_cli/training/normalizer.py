"""Running means and deviations of observations, which normalize a network's inputs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.normalization import EPSILON, normalized_shape
from dqn_cli.agent.spaces import Spaces
from dqn_cli.arrays import Array


class Normalizer:
    """Mean and variance of all observations of each member (Chan et al. 1983, eq. 1.5)."""

    def __init__(self, spaces: Spaces, parameters: Sequence[Tensor]) -> None:
        """Start without any observation.

        Args:
            spaces: Spaces of the environment.
            parameters: Flat vectors [members, size] of the online and the target network. Both end
                with offset and factor, see `normalization_layout`.
        """
        self._frames = spaces.frames
        self._size = math.prod(normalized_shape(spaces))
        self._targets = [values[:, -2 * self._size :] for values in parameters]
        # Of each member: count, means, sums of squared deviations.
        self.statistics = np.zeros((len(parameters[0]), 1 + 2 * self._size))

    def observe(self, obs: Array) -> None:
        """Update with new observations [members, envs, *shape] and write the result."""
        self.observe_frames(obs[:, :, -1] if self._frames else obs)

    def observe_frames(self, newest: Array) -> None:
        """Update with single frames [members, n, *shape], or [1, n, *shape] for all."""
        rows = newest.reshape(*newest.shape[:2], -1)[..., -self._size :]  # [members, envs, n]
        rows = rows.astype(float)
        count, (mean, squares) = self.statistics[:, :1], np.split(self.statistics[:, 1:], 2, 1)
        added = rows.shape[1]
        added_mean = rows.mean(1, keepdims=True)  # [members, 1, n]
        difference = added_mean[:, 0] - mean
        total = count + added
        squares += ((rows - added_mean) ** 2).sum(1)
        squares += difference**2 * count * added / total
        mean += difference * added / total
        count += added
        factor = 1 / np.sqrt(squares / total + EPSILON)
        written = torch.from_numpy(np.concatenate([mean, factor], 1))  # [members, 2 * n]
        for target in self._targets:
            target.copy_(written)
