"""Environments in processes of their own, for those whose steps are slow."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from dqn_cli.arrays import Array
from dqn_cli.envs.preprocessing import AnyEnv
from dqn_cli.envs.sync_envs import legal
from dqn_cli.replay.stream import EnvStep


class AsyncEnvs:
    """Gymnasium's environments in processes, with the answers of `SyncEnvs`."""

    def __init__(self, name: str, makers: Sequence[Callable[[], AnyEnv]]) -> None:
        mode = AutoresetMode.SAME_STEP
        makers = [partial(_made, os.getpid(), make) for make in makers]
        self._vector = AsyncVectorEnv(makers, copy=False, autoreset_mode=mode)
        self._name, self._rows = name, len(makers)
        self.observation_space = self._vector.single_observation_space

    def reset(self, actions: int, dtype: np.dtype[Any]) -> tuple[Array, Array, bool]:
        """First observations and masks, in memory of the run's own, and whether there are masks."""
        self._actions, self._dtype = actions, dtype
        obs, info = self._vector.reset()
        self._masked = "action_mask" in info
        return np.array(obs, dtype), self._masks(info), self._masked

    def step(self, actions: list[int]) -> EnvStep:
        """What the environments answer, each array with a leading axis of environments."""
        answer = self._vector.step(np.array(actions))
        obs, reward, terminated, truncated, info = answer
        obs, mask = np.array(obs, self._dtype), self._masks(info)
        final_obs, final_mask = obs, mask
        if "final_obs" in info:
            final_obs, final_mask = obs.copy(), mask.copy()
            finals = self._masks(info.get("final_info", {}))
            for row in np.flatnonzero(info["_final_obs"]).tolist():
                final_obs[row] = info["final_obs"][row]
                final_mask[row] = finals[row]
        lost = np.array(info.get("life_lost", np.zeros(self._rows)), bool)
        return EnvStep(reward, terminated, truncated, lost, final_obs, final_mask, obs, mask)

    def reseeded(self, ended: Array) -> Array:
        """Which of the environments that ended began an episode with a seed of its own: all."""
        return ended

    def close(self) -> None:
        """Ends every process."""
        self._vector.close()

    def _masks(self, info: dict[str, Any]) -> Array:
        """What is legal, [environments, actions]; all where an environment says nothing."""
        if not self._masked or "action_mask" not in info:
            return np.ones((self._rows, self._actions), bool)
        given = info["_action_mask"]
        rows = [
            {"action_mask": info["action_mask"][i]} if has else {} for i, has in enumerate(given)
        ]
        return np.stack([legal(row, self._actions, self._name) for row in rows])


def _made(run: int, make: Callable[[], AnyEnv]) -> AnyEnv:
    if os.getpid() != run:
        # Ctrl-C reaches every process of a terminal; the run decides when its environments stop.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return make()
