"""Environments in processes of their own, for environments with slow steps."""

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
from dqn_cli.envs.vector_envs import VectorEnvs, legal_actions
from dqn_cli.replay.stream import EnvStep


class AsyncEnvs(VectorEnvs):
    """Gymnasium's AsyncVectorEnv, with a process for each environment."""

    def __init__(self, env_id: str, env_fns: Sequence[Callable[[], AnyEnv]]) -> None:
        env_fns = [partial(_make_in_worker, os.getpid(), make_env) for make_env in env_fns]
        self._vector = AsyncVectorEnv(env_fns, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
        self._env_id, self._num_envs = env_id, len(env_fns)
        self.observation_space = self._vector.single_observation_space

    def reset(self, actions: int, dtype: np.dtype[Any]) -> tuple[Array, Array, bool]:
        """Start the first episodes, as `VectorEnvs.reset` describes."""
        self._actions, self._dtype = actions, dtype
        obs, info = self._vector.reset()
        self._masked = "action_mask" in info
        return np.array(obs, dtype), self._masks(info), self._masked

    def step(self, actions: list[int]) -> EnvStep:
        """Take one action in each environment."""
        obs, reward, terminated, truncated, info = self._vector.step(np.array(actions))
        obs, mask = np.array(obs, self._dtype), self._masks(info)
        final_obs, final_mask = obs, mask
        if "final_obs" in info:
            final_obs, final_mask = obs.copy(), mask.copy()
            masks_at_end = self._masks(info.get("final_info", {}))
            for row in np.flatnonzero(info["_final_obs"]).tolist():
                final_obs[row] = info["final_obs"][row]
                final_mask[row] = masks_at_end[row]
        lost = np.array(info.get("life_lost", np.zeros(self._num_envs)), bool)
        return EnvStep(reward, terminated, truncated, lost, final_obs, final_mask, obs, mask)

    def close(self) -> None:
        """End every process."""
        self._vector.close()

    def _masks(self, info: dict[str, Any]) -> Array:
        """Return the legal actions [envs, actions]; all where an environment gives no mask."""
        if not self._masked or "action_mask" not in info:
            return np.ones((self._num_envs, self._actions), bool)
        infos = [
            {"action_mask": info["action_mask"][row]} if has_mask else {}
            for row, has_mask in enumerate(info["_action_mask"])
        ]
        masks = [legal_actions(env_info, self._actions, self._env_id) for env_info in infos]
        return np.stack(masks)  # [envs, actions]


def _make_in_worker(run_process: int, make_env: Callable[[], AnyEnv]) -> AnyEnv:
    if os.getpid() != run_process:
        # Ctrl-C reaches every process of a terminal; the run decides when its environments stop.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return make_env()
