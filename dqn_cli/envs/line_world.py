"""A walk on a line: the smallest environment on which a DQN has something to learn."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

Observation = NDArray[np.float32]

LIMIT = 10  # the walk ends beyond this many steps of 0.1 to either side


class LineWorld(gymnasium.Env[Observation, np.int64]):
    """Start at 0; actions move 0.1 left or right; the episode ends where abs(position) > 1.

    The right end pays 1, the left end -1, every other step 0.01. Observations are
    [position, 0, 0, 0]. Walking straight to the right returns 1.10, the most there is.
    """

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(-1.1, 1.1, (4,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self._tenths = 0  # whole tenths, so that ten steps are exactly 1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Back to 0."""
        super().reset(seed=seed)
        self._tenths = 0
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One step: 0 to the left, 1 to the right."""
        self._tenths += 1 if action == 1 else -1
        terminated = abs(self._tenths) > LIMIT
        reward = float(np.sign(self._tenths)) if terminated else 0.01
        return self._observation(), reward, terminated, False, {}

    def _observation(self) -> Observation:
        return np.array([self._tenths / 10, 0, 0, 0], np.float32)
