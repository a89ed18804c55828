"""The running deviation of discounted returns, which divides rewards before they are stored."""

from __future__ import annotations

import numpy as np

from dqn_cli.agent.normalization import EPSILON
from dqn_cli.arrays import Array
from dqn_cli.replay.stream import EnvStep


class RewardNormalizer:
    """Divides rewards by the deviation of all discounted sums of rewards since an episode began.

    This is the scaling of Elsayed et al. (2024, algorithm 5), but a sum ends with its episode; in
    their code the last reward of an episode leaks into the next one.
    """

    def __init__(self, gamma: Array, envs: int) -> None:
        """Start without any reward; `gamma` [members] are the discounts."""
        self._gamma = gamma[:, None]  # [members, 1]
        # Of each member: count, mean, sum of squared deviations, and the running sum of each env.
        self.statistics = np.zeros((len(gamma), 3 + envs))

    def normalize(self, step: EnvStep) -> EnvStep:
        """Update with a step of the environments, and return it with divided rewards."""
        sums = self.statistics[:, 3:]  # [members, envs]
        is_reset = np.zeros(sums.shape, bool) if step.is_reset is None else step.is_reset
        np.multiply(sums, self._gamma, out=sums)
        sums += step.reward
        for env in range(sums.shape[1]):
            self._observe(sums[:, env], ~is_reset[:, env])
        sums[step.ended] = 0
        count, _, squares = self.statistics[:, :3].T  # each [members]
        variance = np.where(count > 1, squares / np.maximum(count - 1, 1), 1)
        scale = 1 / np.sqrt(variance + EPSILON)
        return step._replace(reward=(step.reward * scale[:, None]).astype(step.reward.dtype))

    def _observe(self, sums: Array, is_new: Array) -> None:
        """Update count, mean and squares with one sum of each member, [members] (Welford 1962)."""
        count, mean, squares = self.statistics[:, :3].T  # views, each [members]
        count += is_new
        difference = np.where(is_new, sums - mean, 0)
        mean += difference / np.maximum(count, 1)
        squares += difference * np.where(is_new, sums - mean, 0)
