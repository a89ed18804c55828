"""Environments stepped one after the other, in the process of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dqn_cli.agent.spaces import Spaces
from dqn_cli.arrays import Array
from dqn_cli.envs.episode_seeds import NOT_RESTORED
from dqn_cli.envs.info_scalars import SCALARS, scalars_by_name
from dqn_cli.envs.masks import KEY, legal_actions
from dqn_cli.envs.preprocessing import AnyEnv
from dqn_cli.envs.time_limits import CLOSE_SECONDS, close_all
from dqn_cli.envs.vector_envs import VectorEnvs
from dqn_cli.replay.stream import EnvStep


class SyncEnvs(VectorEnvs):
    """A list of environments in one process.

    It suits small environments: their steps take less time than messages between processes, or
    than the overhead of Gymnasium's SyncVectorEnv.
    """

    def __init__(
        self,
        env_id: str,
        env_fns: Sequence[Callable[[], tuple[AnyEnv, Spaces]]],
        info_names: Sequence[str] = (),
    ) -> None:
        """Make each environment; `env_fns` return one with its spaces."""
        self._env_id, self._info_names = env_id, info_names
        self._envs: list[AnyEnv] = []
        try:
            for make_env in env_fns:
                env, self.spaces = make_env()
                self._envs.append(env)
        except BaseException:
            self.close()
            raise

    def reset(self, actions: int, dtype: np.dtype[Any]) -> tuple[Array, Array, bool]:
        """Start the first episodes, as `VectorEnvs.reset` describes."""
        num_envs = len(self._envs)
        self._obs = np.zeros((num_envs, *self.spaces.observation_shape), dtype)
        self._mask = np.ones((num_envs, actions), bool)
        self._has_mask: list[bool] = []
        infos = [self._restart(row) for row in range(num_envs)]
        self.not_restored = {
            row: info[NOT_RESTORED] for row, info in enumerate(infos) if NOT_RESTORED in info
        }
        self._masked = any(self._has_mask)
        return self._obs, self._mask, self._masked

    def step(self, actions: list[int]) -> EnvStep:
        """Take one action in each environment."""
        num_envs, ended = len(actions), []
        reward = np.empty(num_envs)
        terminated, truncated = np.empty(num_envs, bool), np.empty(num_envs, bool)
        lost = np.zeros(num_envs, bool)
        scalars: list[Array] = []  # of each environment, if any are logged
        final_obs = np.empty_like(self._obs)
        final_mask = np.empty_like(self._mask) if self._masked else self._mask
        for row, (env, action) in enumerate(zip(self._envs, actions, strict=True)):
            obs, reward[row], terminates, truncates, info = env.step(action)
            terminated[row], truncated[row] = terminates, truncates
            final_obs[row] = obs
            if info and not (terminates or truncates):
                lost[row] = info.get("life_lost", False)
            if self._masked or (info and KEY in info):
                ends = bool(terminates or truncates)
                final_mask[row] = self._legal_actions(row, info, ends)
            if self._info_names:
                scalars.append(info[SCALARS])
            if terminates or truncates:
                ended.append(row)
        self._obs, self._mask = final_obs, final_mask
        if ended:
            self._obs, self._mask = final_obs.copy(), final_mask.copy()
            for row in ended:
                self._restart(row)
        return EnvStep(
            reward=reward,
            terminated=terminated,
            truncated=truncated,
            lost=lost,
            final_obs=final_obs,
            final_mask=final_mask,
            obs=self._obs,
            mask=self._mask,
            info=scalars_by_name(self._info_names, np.stack(scalars)) if scalars else {},
        )

    def close(self, patience: float = CLOSE_SECONDS) -> None:
        """Close every environment, in `patience` seconds together."""
        close_all([env.close for env in self._envs], self._env_id, patience)

    def _restart(self, row: int) -> dict[str, Any]:
        """Start an episode; the first one shows whether the environment gives masks."""
        self._obs[row], info = self._envs[row].reset()
        if len(self._has_mask) == row:
            self._has_mask.append(KEY in info)
        self._mask[row] = self._legal_actions(row, info)
        return info

    def _legal_actions(self, row: int, info: dict[str, Any], is_last: bool = False) -> Array:
        actions, has_mask = self._mask.shape[1], self._has_mask[row]
        return legal_actions(info, actions, self._env_id, has_mask, is_last)
