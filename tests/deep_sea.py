"""Deep sea (Osband et al. 2020, bsuite): one path of many leads to the treasure."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np

DEPTH = 12


class DeepSea(gymnasium.Env[Any, Any]):
    """A square in which each action leads down, and right or left.

    Each step to the right costs a little; only who always goes right finds the treasure. Which of
    the two actions leads right differs from cell to cell.
    """

    observation_space = gymnasium.spaces.Discrete((DEPTH + 1) * DEPTH)
    action_space = gymnasium.spaces.Discrete(2)
    right = np.random.default_rng(0).integers(2, size=(DEPTH, DEPTH))

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.row = self.column = 0
        return self.cell(), {}

    def step(self, action: Any) -> Any:
        goes_right = int(action) == self.right[self.row, self.column]
        found = goes_right and self.column == DEPTH - 1
        reward = float(found) - (0.01 / DEPTH if goes_right else 0)
        self.column += 1 if goes_right else -1
        self.column = min(max(self.column, 0), DEPTH - 1)
        self.row += 1
        return self.cell(), reward, self.row == DEPTH, False, {}

    def cell(self) -> np.int64:
        return np.int64(self.row * DEPTH + self.column)


gymnasium.register("DeepSea-v0", DeepSea)
