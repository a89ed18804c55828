"""Environments stepped one after the other, in the process of the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.envs.env_config import EnvironmentFailure
from dqn_cli.envs.preprocessing import AnyEnv
from dqn_cli.replay.stream import EnvStep


class SyncEnvs:
    """A list of environments; where an episode ends, the next one starts in the same step.

    For the small environments that a DQN is mostly used on, a process each costs more than it saves
    and Gymnasium's own list of environments as much as a step of theirs.
    """

    def __init__(self, name: str, makers: Sequence[Callable[[], AnyEnv]]) -> None:
        self._name = name
        self._envs = [make() for make in makers]
        self.observation_space = self._envs[0].observation_space

    def reset(self, actions: int, dtype: np.dtype[Any]) -> tuple[Array, Array, bool]:
        """First observations and masks, in memory of the run's own, and whether there are masks."""
        rows = len(self._envs)
        self._obs = np.zeros((rows, *(self.observation_space.shape or ())), dtype)
        self._mask = np.ones((rows, actions), bool)
        self._masked = False
        for row in range(rows):
            self._masked |= self._restart(row)
        return self._obs, self._mask, self._masked

    def step(self, actions: list[int]) -> EnvStep:
        """What the environments answer, each array with a leading axis of environments."""
        rows, ended = len(actions), []
        rewards = np.empty(rows)
        terminations, truncations = np.empty(rows, bool), np.empty(rows, bool)
        losses = np.zeros(rows, bool)
        final_obs = np.empty_like(self._obs)
        final_mask = np.empty_like(self._mask) if self._masked else self._mask
        for row, (env, action) in enumerate(zip(self._envs, actions, strict=True)):
            obs, rewards[row], terminated, truncated, info = env.step(action)
            terminations[row], truncations[row] = terminated, truncated
            final_obs[row] = obs
            if info and not (terminated or truncated):
                losses[row] = info.get("life_lost", False)
            if self._masked:
                final_mask[row] = legal(info, self._mask.shape[1], self._name)
            if terminated or truncated:
                ended.append(row)
        self._obs, self._mask = final_obs, final_mask
        if ended:
            self._obs, self._mask = final_obs.copy(), final_mask.copy()
            for row in ended:
                self._restart(row)
        return EnvStep(
            reward=rewards,
            terminated=terminations,
            truncated=truncations,
            lost=losses,
            final_obs=final_obs,
            final_mask=final_mask,
            obs=self._obs,
            mask=self._mask,
        )

    def reseeded(self, ended: Array) -> Array:
        """Which of the environments that ended began an episode with a seed of its own: all."""
        return ended

    def close(self) -> None:
        """Closes every environment."""
        for env in self._envs:
            env.close()

    def _restart(self, row: int) -> bool:
        """Whether the new episode has masks."""
        self._obs[row], info = self._envs[row].reset()
        self._mask[row] = legal(info, self._mask.shape[1], self._name)
        return "action_mask" in info


def legal(info: dict[str, Any], actions: int, name: str) -> Array:
    """The legal actions [actions]; all of them where none is legal, for then nothing is asked.

    Raises EnvironmentFailure, with the environment's name, if a mask has another size.
    """
    if "action_mask" not in info:
        return np.ones(actions, bool)
    mask = np.asarray(info["action_mask"])
    if mask.shape != (actions,):
        raise EnvironmentFailure(
            f"env={name}: action_mask has shape {mask.shape}, but there are {actions} actions"
        )
    mask = mask.astype(bool)
    return mask if mask.any() else np.ones(actions, bool)
