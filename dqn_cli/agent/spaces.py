"""What a network has to know of an environment: observations, and what actions stand for."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Spaces(NamedTuple):
    """Observations as one array, and actions 0 to n - 1 with what they are in the environment.

    `low` and `high` hold a bound for each element of a flattened observation, or one for all. An
    action is one number, or several if `composite`: `parts` says how many values each takes, from
    `starts` on. With `frames` an observation's first axis has so many, from the oldest to the
    newest; it is 0 where observations have no axis of time.
    """

    observation_shape: tuple[int, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    one_hot: bool
    parts: tuple[int, ...]
    starts: tuple[int, ...]
    composite: bool
    frames: int

    @property
    def observation_size(self) -> int:
        """Number of elements of one flattened observation."""
        return math.prod(self.observation_shape)

    @property
    def bounds(self) -> tuple[list[float], list[float]]:
        """Low and high, each with a number for each element."""
        size = self.observation_size
        low, high = (list(b) * (size // len(b)) for b in (self.low, self.high))
        return low, high

    @property
    def actions(self) -> int:
        """How many actions there are to choose from."""
        return math.prod(self.parts)

    def action(self, index: int) -> int | NDArray[np.int64]:
        """The environment's own action behind an index: a number, or an array [parts]."""
        values = np.array(np.unravel_index(index, self.parts), np.int64) + self.starts
        return values if self.composite else int(values[0])
