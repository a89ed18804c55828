"""An environment that ignores its seed: every episode has its own length and numbers."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

starts = 0  # of episodes in this process


class Unseeded(gymnasium.Env[Any, Any]):
    """Observes [episode, time] of this process; refuses to be stepped past an end.

    Args:
        lengths: Lengths of the episodes, again and again.
        raises_at: Time at which every episode but the first raises an error; 0 for never.
    """

    def __init__(self, lengths: tuple[int, ...] = (7, 4), raises_at: int = 0) -> None:
        self.observation_space = spaces.Box(0, np.inf, (2,), np.float32)
        self.action_space = spaces.Discrete(3)
        self.lengths, self.raises_at = lengths, raises_at
        self.is_over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        global starts
        self.episode, starts = starts, starts + 1
        self.time, self.is_over = 0, False
        return self._observe(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert not self.is_over, "stepped past the end of an episode"
        self.time += 1
        if self.episode and self.time == self.raises_at:
            raise ValueError("this action is illegal here")
        self.is_over = self.time == self.lengths[self.episode % len(self.lengths)]
        return self._observe(), 1.0, self.is_over, False, {}

    def _observe(self) -> Any:
        return np.array([self.episode, self.time], np.float32)


gymnasium.register("Unseeded-v0", entry_point=Unseeded)
