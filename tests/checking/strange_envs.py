"""Small environments, each with something that a check must tell."""

from __future__ import annotations

import ctypes
import os
import random
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

REALS = spaces.Box(-1, 1, (2,), np.float32)
shared_time = 0  # of all copies of "shared"


class Strange(gymnasium.Env[Any, Any]):
    """Episodes of ten steps with random numbers; `kind` names what is strange.

    Step number `at` of a copy calls the method `_step_KIND`, if there is one.
    """

    alive = 0

    def __init__(
        self, kind: str = "", at: int = 30, space: Any = None, actions: Any = None
    ) -> None:
        self.kind, self.at, self.taken = kind, at, 0
        self.observation_space = space or SPACES.get(kind, REALS)
        self.action_space = actions or ACTIONS.get(kind, spaces.Discrete(3))
        if kind == "single":
            if Strange.alive:
                raise RuntimeError("port 5005 is taken")
            Strange.alive += 1
        if kind == "in_init":
            time.sleep(1_000)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.time = 0
        return self._observe(), self._info(is_first=True)

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        assert self.kind != "masked" or action != 1, "illegal"
        self.time, self.taken = self.time + 1, self.taken + 1
        if self.taken == self.at:
            getattr(self, f"_step_{self.kind}", lambda: None)()
        reward = float(self.np_random.random())
        reward = {"rewarding": 5_000.0, "unrewarding": 0.0}.get(self.kind, reward)
        is_over = self.time >= 10 and self.kind != "endless"
        if self.kind == "slow":
            time.sleep(0.05)
        return self._observe(), reward, is_over, False, self._info()

    def close(self) -> None:
        if self.kind == "single":
            Strange.alive = 0

    def _observe(self) -> Any:
        global shared_time
        if self.kind == "shared":
            shared_time = shared_time + 1 if self.time else 0
            return np.array([shared_time / 10, 0], np.float32)
        if self.kind == "unseeded":
            return np.array([random.random(), 0], np.float32)
        return OBSERVATIONS.get(self.kind, lambda rng: rng.random(2, np.float32))(self.np_random)

    def _info(self, is_first: bool = False) -> dict[str, Any]:
        mask = np.array([1, 0, 1], np.int8)
        if self.kind == "masked" or (self.kind == "late" and not is_first):
            return {"action_mask": mask}
        if self.kind == "other_mask":
            return {"legal_moves": mask, "score": 3.0}
        return {}

    def _step_exit(self) -> None:
        os._exit(7)

    def _step_sys_exit(self) -> None:
        raise SystemExit(5)

    def _step_segfault(self) -> None:
        ctypes.string_at(0)

    def _step_hang(self) -> None:
        time.sleep(1_000)

    def _step_raise(self) -> None:
        raise RuntimeError("no licence")


SPACES: dict[str, Any] = {
    "bytes": spaces.Box(0, 255, (12, 12, 3), np.uint8),
    "short": REALS,
    "large": spaces.Box(-np.inf, np.inf, (2,), np.float64),
    "bounded": spaces.Box(0, 1_000, (2,), np.float32),
    "dark": spaces.Box(0, 255, (12, 12, 3), np.uint8),
    "dim": spaces.Box(0, 255, (12, 12, 3), np.uint8),
    "first": spaces.Box(0, 255, (3, 12, 12), np.uint8),
    "texts": spaces.Dict(text=spaces.Text(9), number=REALS, still=REALS),
    "text": spaces.Text(9),
    "huge": spaces.Box(0, 255, (400, 400, 3), np.uint8),
}
ACTIONS: dict[str, Any] = {
    "continuous": spaces.Box(-1, 1, (2,), np.float32),
    "many": spaces.Discrete(5_000, start=2),
    "nested": spaces.Tuple([spaces.Discrete(2), spaces.MultiBinary(2)]),
}
OBSERVATIONS: dict[str, Any] = {
    "bytes": lambda rng: rng.random((12, 12, 3)).astype(np.float32),
    "short": lambda rng: np.zeros(1, np.float32),
    "nan": lambda rng: np.array([np.nan, 0], np.float32),
    "large": lambda rng: rng.normal(10_000, 10, 2),
    "bounded": lambda rng: rng.uniform(0, 1_000, 2).astype(np.float32),
    "beyond": lambda rng: rng.uniform(-3, 3, 2).astype(np.float32),
    "dark": lambda rng: rng.integers(0, 2, (12, 12, 3), np.uint8),
    "dim": lambda rng: rng.integers(0, 10, (12, 12, 3), np.uint8),
    "first": lambda rng: rng.integers(0, 255, (3, 12, 12), np.uint8),
    "huge": lambda rng: rng.integers(0, 255, (400, 400, 3), np.uint8),
    "texts": lambda rng: {
        "text": "abc",
        "number": rng.random(2, np.float32),
        "still": np.zeros(2, np.float32),
    },
    "text": lambda rng: "abc",
    "still": lambda rng: np.zeros(2, np.float32),
}

gymnasium.register("Strange-v0", entry_point=Strange)
gymnasium.register("StrangeLimited-v0", entry_point=Strange, max_episode_steps=100_000)
