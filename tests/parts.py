"""Environments with parts of several kinds: `env=parts:Parts-v0` and `env=parts:Market-v0`."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

STEPS = 10  # of an episode


class Parts(gymnasium.Env[Any, Any]):
    """The picture shows a side, the vector whether it is the right one: 1 for the right action.

    Either of them alone tells nothing about it, which is worth half of the best return.
    """

    action_space = spaces.Discrete(2)

    def __init__(self, side: int = 12) -> None:
        self._side = side
        self.observation_space = spaces.Dict(
            picture=spaces.Box(0, 255, (side, side, 1), np.uint8),
            numbers=spaces.Box(-9, 9, (3,), np.float32),
        )

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._steps = 0
        return self._next(), {}

    def step(self, action: Any) -> Any:
        reward = float(action == self._right)
        self._steps += 1
        return self._next(), reward, False, self._steps == STEPS, {}

    def _next(self) -> dict[str, Any]:
        random, size = self.np_random, self._side // 3
        shown, is_right = int(random.integers(2)), int(random.integers(2))
        self._right = shown if is_right else 1 - shown
        picture = np.zeros((self._side, self._side, 1), np.uint8)
        left = self._side - size - 1 if shown else 1
        top = int(random.integers(self._side - size))
        picture[top : top + size, left : left + size] = random.integers(180, 255)
        numbers = random.normal(size=3).astype(np.float32)
        numbers[1] = 2 * is_right - 1
        return {"picture": picture, "numbers": numbers}


class Market(gymnasium.Env[Any, Any]):
    """A price returns to its mean: it pays to hold it below. All numbers are times `scale`."""

    action_space = spaces.Discrete(2)
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self._steps, self._above = 0, float(self.np_random.normal())
        return self._prices(), {}

    def step(self, action: Any) -> Any:
        before = self._above
        self._above = 0.5 * before + float(self.np_random.normal())
        self._steps += 1
        reward = float(np.clip(-before, -1, 1)) if action else 0.0
        return self._prices(), reward, False, self._steps == STEPS, {}

    def _prices(self) -> Any:
        prices = [2.0 + self._above, self.np_random.normal()]
        return self._scale * np.array(prices, np.float32)


gymnasium.register("Parts-v0", Parts)
gymnasium.register("Market-v0", Market)
