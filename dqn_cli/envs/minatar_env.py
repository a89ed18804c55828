"""MinAtar's games (Young & Tian 2019), so that an episode is its seed and its actions."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from minatar import Environment
from numpy.typing import NDArray

Observation = NDArray[np.bool_]

PIXELS = 16  # the side of a cell in a rendered picture


class MinAtar(gymnasium.Env[Observation, np.int64]):
    """A game on a 10 by 10 grid: observations [10, 10, planes], one plane for each kind of object.

    MinAtar's own environment remembers its last action beyond a reset, and may repeat it. With
    `minimal_actions` only those that do something in this game can be taken.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012  (as Gymnasium has it)

    def __init__(
        self, game: str, minimal_actions: bool, render_mode: str | None = None, **kwargs: Any
    ) -> None:
        """Takes what minatar.Environment takes too, such as sticky_action_prob."""
        self.render_mode = render_mode
        self._game = Environment(game, **kwargs)
        every = range(self._game.num_actions())
        self._actions = list(self._game.minimal_action_set() if minimal_actions else every)
        self.action_space = gymnasium.spaces.Discrete(len(self._actions))
        shape = self._game.state_shape()
        self.observation_space = gymnasium.spaces.Box(0, 1, shape, np.bool_)  # type: ignore

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """A new game."""
        super().reset(seed=seed)
        if seed is not None:
            self._game.seed(seed)
        self._game.last_action = 0
        self._game.reset()
        return self._game.state(), {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """One frame."""
        reward, terminated = self._game.act(self._actions[action])
        return self._game.state(), float(reward), bool(terminated), False, {}

    def render(self) -> Any:
        """A picture [height, width, 3] in which each plane has a colour of its own."""
        state = self._game.state()
        planes = state.shape[2]
        hues = np.arange(planes) / planes * 2 * np.pi
        colours = 155 + 100 * np.cos(hues[:, None] - np.arange(3) * 2 * np.pi / 3)
        picture = np.where(state[..., None], colours, 0).max(2).astype(np.uint8)
        return picture.repeat(PIXELS, 0).repeat(PIXELS, 1)
