"""An environment of pictures, `env=pictures:Pictures-v0`: a bright square walks left or right."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

SIDE, SQUARE = 36, 8  # the smallest picture that three convolutions of Nature take
Picture = NDArray[np.uint8]


class Pictures(gymnasium.Env[Picture, np.int64]):
    """The reward grows to the right, up to 3; an episode ends where the square leaves."""

    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, colors: bool = False) -> None:
        shape = (SIDE, SIDE, 3) if colors else (SIDE, SIDE)
        self.observation_space = gymnasium.spaces.Box(0, 255, shape, np.uint8)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Picture, dict[str, Any]]:
        super().reset(seed=seed)
        self._left, self._top = self.np_random.integers(8, 20, 2).tolist()
        return self._picture(), {}

    def step(self, action: np.int64) -> tuple[Picture, float, bool, bool, dict[str, Any]]:
        self._left += 4 if action else -4
        over = not 0 <= self._left <= SIDE - SQUARE
        return self._picture(), 3 * self._left / SIDE, over, False, {}

    def _picture(self) -> Picture:
        picture = np.zeros(self.observation_space.shape, np.uint8)
        left = max(self._left, 0)
        picture[self._top : self._top + SQUARE, left : left + SQUARE] = 200 + self._left
        return picture


gymnasium.register("Pictures-v0", Pictures, max_episode_steps=12)
