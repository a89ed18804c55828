"""MinAtar's games (Young & Tian 2019) as Gymnasium environments."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from minatar import Environment
from numpy.typing import NDArray

Observation = NDArray[np.bool_]

CELL_PIXELS = 16  # side of a cell in a rendered image


class MinAtarEnv(gymnasium.Env[Observation, np.int64]):
    """A game on a 10 by 10 grid.

    Observations are [10, 10, planes], one plane for each kind of object. With `minimal_actions`,
    only actions that have an effect in the game can be taken. An episode depends on its seed and
    actions alone: MinAtar's own environment may repeat the last action of the episode before.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 15}  # noqa: RUF012  (as Gymnasium has it)

    def __init__(
        self, game: str, minimal_actions: bool, render_mode: str | None = None, **kwargs: Any
    ) -> None:
        """Pass `kwargs`, such as sticky_action_prob, on to minatar.Environment."""
        self.render_mode = render_mode
        self._game = Environment(game, **kwargs)
        all_actions = range(self._game.num_actions())
        actions = self._game.minimal_action_set() if minimal_actions else all_actions
        self._actions = list(actions)
        self.action_space = gymnasium.spaces.Discrete(len(self._actions))
        shape = self._game.state_shape()
        self.observation_space = gymnasium.spaces.Box(0, 1, shape, np.bool_)  # type: ignore

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Start a new game."""
        super().reset(seed=seed)
        if seed is not None:
            self._game.seed(seed)
        self._game.last_action = 0
        self._game.reset()
        return self._game.state(), {}

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Play one frame."""
        reward, terminated = self._game.act(self._actions[action])
        return self._game.state(), float(reward), bool(terminated), False, {}

    def render(self) -> Any:
        """Return an image [height, width, 3] with a color for each plane."""
        state = self._game.state()
        planes = state.shape[2]
        hues = np.arange(planes) / planes * 2 * np.pi
        colors = 155 + 100 * np.cos(hues[:, None] - np.arange(3) * 2 * np.pi / 3)
        image = np.where(state[..., None], colors, 0).max(2).astype(np.uint8)
        return image.repeat(CELL_PIXELS, 0).repeat(CELL_PIXELS, 1)
