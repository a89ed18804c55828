"""Environments in processes of their own, for environments with slow steps."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from dqn_cli.agent.spaces import Spaces
from dqn_cli.arrays import Array
from dqn_cli.envs.episode_seeds import NOT_RESTORED
from dqn_cli.envs.info_scalars import SCALARS, scalars_by_name
from dqn_cli.envs.masks import KEY, legal_actions
from dqn_cli.envs.preprocessing import AnyEnv
from dqn_cli.envs.vector_envs import VectorEnvs
from dqn_cli.replay.stream import EnvStep


class AsyncEnvs(VectorEnvs):
    """Gymnasium's AsyncVectorEnv, with a process for each environment."""

    def __init__(
        self,
        env_id: str,
        env_fns: Sequence[Callable[[], tuple[AnyEnv, Spaces]]],
        info_names: Sequence[str] = (),
    ) -> None:
        """Start a process for each of `env_fns`, which return an environment with its spaces."""
        # It is closed before the processes start: some environments can't have two instances.
        probe, self.spaces = env_fns[0]()
        probe.close()
        makers = [partial(_make_in_worker, os.getpid(), make_env) for make_env in env_fns]
        self._vector = AsyncVectorEnv(makers, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
        self._env_id, self._num_envs, self._info_names = env_id, len(env_fns), info_names

    def reset(self, actions: int, dtype: np.dtype[Any]) -> tuple[Array, Array, bool]:
        """Start the first episodes, as `VectorEnvs.reset` describes."""
        self._actions, self._dtype = actions, dtype
        obs, info = self._vector.reset()
        self._has_mask = info.get(f"_{KEY}", np.zeros(self._num_envs, bool))
        reasons = info.get(NOT_RESTORED, [None] * self._num_envs)
        self.not_restored = {row: reason for row, reason in enumerate(reasons) if reason}
        return np.array(obs, dtype), self._masks(info), bool(self._has_mask.any())

    def step(self, actions: list[int]) -> EnvStep:
        """Take one action in each environment."""
        obs, reward, terminated, truncated, info = self._vector.step(np.array(actions))
        obs, mask = np.array(obs, self._dtype), self._masks(info)
        final_obs, final_mask = obs, mask
        if "final_obs" in info:
            final_obs, final_mask = obs.copy(), mask.copy()
            masks_at_end = self._masks(info.get("final_info", {}), is_last=True)
            for row in np.flatnonzero(info["_final_obs"]).tolist():
                final_obs[row] = info["final_obs"][row]
                final_mask[row] = masks_at_end[row]
        lost = np.array(info.get("life_lost", np.zeros(self._num_envs)), bool)
        return EnvStep(
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            lost=lost,
            final_obs=final_obs,
            final_mask=final_mask,
            obs=obs,
            mask=mask,
            info=self._scalars(info, terminated | truncated) if self._info_names else {},
        )

    def close(self) -> None:
        """End every process."""
        self._vector.close()

    def _scalars(self, info: dict[str, Any], ended: Array) -> dict[str, Array]:
        """Return the scalars of the step, which are in the final info where an episode ended."""
        scalars = np.empty((self._num_envs, len(self._info_names)))
        for rows, source in ((~ended, info), (ended, info.get("final_info", {}))):
            if rows.any():
                scalars[rows] = source[SCALARS][rows]
        return scalars_by_name(self._info_names, scalars)

    def _masks(self, info: dict[str, Any], is_last: bool = False) -> Array:
        """Return the legal actions [envs, actions]; all where an environment gives no mask."""
        if KEY not in info and not self._has_mask.any():
            return np.ones((self._num_envs, self._actions), bool)
        is_there = info.get(f"_{KEY}", np.zeros(self._num_envs, bool))
        infos = [{KEY: info[KEY][row]} if there else {} for row, there in enumerate(is_there)]
        masks = [
            legal_actions(env_info, self._actions, self._env_id, bool(has_mask), is_last)
            for env_info, has_mask in zip(infos, self._has_mask, strict=True)
        ]
        return np.stack(masks)  # [envs, actions]


def _make_in_worker(run_process: int, make_env: Callable[[], tuple[AnyEnv, Spaces]]) -> AnyEnv:
    if os.getpid() != run_process:
        # Ctrl-C reaches every process of a terminal; the run decides when its environments stop.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    env, _ = make_env()
    return env
