"""A scripted environment, all of whose observations and rewards are known."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from dqn_cli.agent.spaces import Spaces
from dqn_cli.envs.space_adapter import adapt_spaces
from dqn_cli.replay.stream import EnvStep

Array = NDArray[Any]
MadeEnv = tuple[gymnasium.Env[Any, Any], Spaces]


def made(env: gymnasium.Env[Any, Any]) -> MadeEnv:
    """An environment with its spaces, as `make_env` returns it."""
    return adapt_spaces(env)


def arrays_of(step: EnvStep) -> tuple[Array, ...]:
    """The arrays that every step has."""
    return step[:8]


class Scripted(gymnasium.Env[Any, Any]):
    """Observes [episode, time, process] in an array that it overwrites; rewards are the time.

    `masks` holds the action mask of each time in an episode; None gives no masks.
    """

    def __init__(
        self,
        length: int = 3,
        truncates: bool = False,
        masks: list[list[int]] | None = None,
        process: int = 0,
    ) -> None:
        self.observation_space = spaces.Box(0, 2**31, (3,), np.int64)
        self.action_space = spaces.Discrete(3)
        self.length, self.truncates, self.masks = length, truncates, masks
        self.obs = np.array([-1, 0, process], np.int64)
        self.actions_taken: list[Any] = []
        self.closed = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Array, dict[str, Any]]:
        self.obs[0] += 1
        self.obs[1] = 0
        return self.obs, self.info()

    def step(self, action: Any) -> tuple[Array, Any, Any, Any, dict[str, Any]]:
        self.actions_taken.append(action)
        self.obs[1] += 1
        time = int(self.obs[1])
        ended = np.int64(time == self.length)  # NumPy's integer, not a bool
        terminated, truncated = ended * (not self.truncates), ended * self.truncates
        return self.obs, np.float32(time), terminated, truncated, self.info()

    def info(self) -> dict[str, Any]:
        time = int(self.obs[1])
        info: dict[str, Any] = {"time": time}
        if self.masks is not None:
            info["action_mask"] = np.array(self.masks[time], np.int8)
        return info

    def close(self) -> None:
        self.closed += 1
