"""Deep sea: a treasure that random actions hardly ever find (Osband et al. 2020, section 3)."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np


class DeepSea(gymnasium.Env[np.int64, np.int64]):
    """A square of cells; each step dives one row, to the left or to the right.

    The action that moves right differs from cell to cell. Moving right costs 0.01 / size, and the
    treasure in the last column pays 1, so that the best return is 0.99. Random actions find it in
    one episode of 2^size.
    """

    def __init__(self, size: int = 8, seed: int = 0) -> None:
        self.size = size
        self.observation_space = gymnasium.spaces.Discrete(size * size)
        self.action_space = gymnasium.spaces.Discrete(2)
        self._right = np.random.default_rng(seed).integers(2, size=(size, size))
        self._row = self._column = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        """Return to the first cell."""
        super().reset(seed=seed)
        self._row = self._column = 0
        return self._cell(), {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        """Dive one row."""
        moves_right = action == self._right[self._row, self._column]
        reward = -0.01 / self.size if moves_right else 0.0
        self._column = max(self._column + (1 if moves_right else -1), 0)
        self._row += 1
        at_bottom = self._row == self.size
        if at_bottom and self._column == self.size:
            reward += 1
        self._row, self._column = (min(x, self.size - 1) for x in (self._row, self._column))
        return self._cell(), reward, at_bottom, False, {}

    def _cell(self) -> np.int64:
        return np.int64(self._row * self.size + self._column)
