"""Spaces: what a network needs to know about observations and actions."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Spaces(NamedTuple):
    """Observations as one array, and actions 0 to n - 1 with the environment's own values.

    `low` and `high` hold a bound for each element of a flattened observation, or one for all. An
    environment's action is one number, or several if `composite`. Each of them takes `parts` values
    beginning at `starts`. `frames` is the length of an observation's first axis if that is time,
    oldest first, and 0 if it is not. `source` describes the environment's own observation space as
    plain data, if observations are flattened.
    """

    observation_shape: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    one_hot: bool
    parts: tuple[int, ...]
    starts: tuple[int, ...]
    composite: bool
    frames: int
    source: Any = None

    @property
    def observation_size(self) -> int:
        """Length of a flattened observation."""
        return math.prod(self.observation_shape)

    @property
    def bounds(self) -> tuple[list[float], list[float]]:
        """Lower and upper bounds, each with a number for each element."""
        size = self.observation_size
        low, high = (list(b) * (size // len(b)) for b in (self.low, self.high))
        return low, high

    @property
    def actions(self) -> int:
        """Number of actions to choose from."""
        return math.prod(self.parts)

    def fits(self, other: Spaces) -> bool:
        """Return whether a network for these spaces can be used with others."""
        mine, theirs = self.observation_shape, other.observation_shape
        return (mine, self.actions) == (theirs, other.actions)

    def action(self, index: int) -> int | NDArray[np.int64]:
        """Return the environment's action of an index: a number, or an array [parts]."""
        values = np.array(np.unravel_index(index, self.parts), np.int64) + self.starts
        return values if self.composite else int(values[0])
