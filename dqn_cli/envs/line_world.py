"""A walk on a line, for tests and first tries."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

Observation = NDArray[np.float32]

LIMIT = 10  # the walk ends beyond this many steps of 0.1 to either side


class LineWorld(gymnasium.Env[Observation, np.int64]):
    """A walk that starts at 0 and ends where abs(position) > 1.

    Actions move 0.1 to the left or right. The right end pays 1, the left end -1, and every other
    step 0.01. Observations are [position, 0, 0, 0]. The best return, 1.10, is that of walking
    straight to the right.
    """

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(-1.1, 1.1, (4,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self._tenths = 0  # whole tenths, so that ten steps are exactly 1

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Return to 0."""
        super().reset(seed=seed)
        self._tenths = 0
        return self._observation(), {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Move to the left with action 0, to the right with action 1."""
        self._tenths += 1 if action == 1 else -1
        terminated = abs(self._tenths) > LIMIT
        reward = float(np.sign(self._tenths)) if terminated else 0.01
        return self._observation(), reward, terminated, False, {}

    def _observation(self) -> Observation:
        return np.array([self._tenths / 10, 0, 0, 0], np.float32)
