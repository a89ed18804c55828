"""The head of an ensemble that each episode follows: Thompson sampling (Osband et al. 2016)."""

from __future__ import annotations

import numpy as np

from dqn_cli.arrays import Array


class ActiveHeads:
    """The head that each environment's episode follows from its beginning to its end."""

    def __init__(self, count: int, shape: tuple[int, ...]) -> None:
        """Follow the first of `count` heads until others are drawn; shape is [members, envs]."""
        self.count = count
        self.heads = np.zeros(shape, np.int64)  # [members, envs]

    def draw(self, begins: Array, uniform: Array) -> None:
        """Draw a head where an episode begins; `uniform` is in [0, 1), all are [members, envs]."""
        self.heads = np.where(begins, (uniform * self.count).astype(np.int64), self.heads)

    def values(self, q: Array) -> Array:
        """Return action values [members, envs, actions] of q [members, envs, actions, heads]."""
        return np.asarray(np.take_along_axis(q, self.heads[..., None, None], 3)[..., 0])
