"""The environments of a run: stepped together, each episode with its own seed."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import TimeLimit

from dqn_cli.arrays import Array
from dqn_cli.envs.building import (
    EnvConfig,
    EnvironmentFailure,
    Vectorization,
    make,
    storage_dtype,
)
from dqn_cli.envs.seeding import Place, SeededEpisodes, SeedOf
from dqn_cli.envs.spaces import AnyEnv
from dqn_cli.replay.stream import Step


class Environments:
    """Environments with leading axes [members, envs]; `obs` and `mask` are what to act on next.

    Where an episode ends, the next one starts in the same step, so that every step is a transition
    of every environment.
    """

    def __init__(
        self,
        config: EnvConfig,
        seed_ofs: Sequence[Sequence[SeedOf]],
        dtype: str,
        places: Sequence[Place] | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        """Starts an environment for each of `seed_ofs` [members, envs], or puts it in its place."""
        self._shape = (len(seed_ofs), len(seed_ofs[0]))
        flat = [seed_of for member in seed_ofs for seed_of in member]
        places = places or [Place()] * len(flat)
        makers = [
            partial(_seeded, config, seed_of, place, max_episode_steps)
            for seed_of, place in zip(flat, places, strict=True)
        ]
        is_async = config.vectorization is Vectorization["async"]
        vector = AsyncVectorEnv if is_async else SyncVectorEnv
        self._vector = vector(makers, copy=False, autoreset_mode=AutoresetMode.SAME_STEP)
        self._id = config.id
        self._episodes = [place.episode for place in places]
        self._actions = [list(place.actions) for place in places]
        probe, self.spaces = make(config)
        probe.close()
        self._dtype = storage_dtype(self._vector.single_observation_space, dtype)
        obs, info = self._vector.reset()
        self.masked = "action_mask" in info
        self.obs = self._observations(obs)
        self.mask = self._masks(info)
        self._check_finite("observation", self.obs)

    @property
    def places(self) -> list[Place]:
        """Where each environment stands, for a run that goes on later."""
        pairs = zip(self._episodes, self._actions, strict=True)
        return [Place(episode, tuple(actions)) for episode, actions in pairs]

    def step(self, action: Array) -> Step:
        """Takes `action` [members, envs]; EnvironmentFailure on a NaN or infinite answer."""
        obs, reward, terminated, truncated, info = self._vector.step(action.reshape(-1))
        self._record(action.reshape(-1), terminated | truncated)
        self.obs, self.mask = self._observations(obs), self._masks(info)
        final_obs, final_mask = self.obs, self.mask
        if "final_obs" in info:
            final_obs, final_mask = self._final(info)
        self._check_finite("reward", reward)
        self._check_finite("observation", final_obs)
        if final_obs is not self.obs:
            self._check_finite("observation", self.obs)
        shape = self._shape
        return Step(
            reward=reward.reshape(shape),
            terminated=terminated.reshape(shape),
            truncated=truncated.reshape(shape),
            final_obs=final_obs,
            final_mask=final_mask,
            obs=self.obs,
            mask=self.mask,
        )

    def close(self) -> None:
        """Closes every environment."""
        self._vector.close()

    def _record(self, action: Array, ended: Array) -> None:
        for env, taken in enumerate(action.tolist()):
            self._actions[env].append(taken)
        for env in np.flatnonzero(ended).tolist():
            self._episodes[env] += 1
            self._actions[env] = []

    def _final(self, info: dict[str, Any]) -> tuple[Array, Array]:
        obs, mask = self.obs.copy(), self.mask.copy()
        rows = obs.reshape(-1, *obs.shape[2:])  # [members * envs, *shape]
        for env in np.flatnonzero(info["_final_obs"]).tolist():
            rows[env] = info["final_obs"][env]
        if self.masked:
            final = self._masks(info.get("final_info", {}))
            ended = info["_final_obs"].reshape(self._shape)
            mask[ended] = final[ended]
        return obs, mask

    def _observations(self, obs: Any) -> Array:
        array = np.asarray(obs)
        return array.astype(self._dtype).reshape(*self._shape, *array.shape[1:])

    def _masks(self, info: dict[str, Any]) -> Array:
        legal = np.ones((*self._shape, self.spaces.actions), bool)
        if not self.masked or "action_mask" not in info:
            return legal
        mask = np.asarray(info["action_mask"])
        if mask.shape[1:] != (self.spaces.actions,):
            raise EnvironmentFailure(
                f"env={self._id}: action_mask has shape {mask.shape[1:]},"
                f" but there are {self.spaces.actions} actions"
            )
        given = info["_action_mask"].reshape(self._shape)
        legal[given] = mask.reshape(legal.shape).astype(bool)[given]
        legal[~legal.any(-1)] = True  # nothing is legal where an episode is over: nothing is asked
        return legal

    def _check_finite(self, what: str, values: Array) -> None:
        if not np.isfinite(values).all():
            raise EnvironmentFailure(f"env={self._id} gave a {what} that is not a finite number")


def _seeded(
    config: EnvConfig, seed_of: SeedOf, place: Place, max_episode_steps: int | None
) -> AnyEnv:
    if multiprocessing.parent_process() is not None:
        # Ctrl-C reaches every process of a terminal; the run decides when its workers stop.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
    env, _ = make(config)
    if max_episode_steps is not None:
        env = TimeLimit(env, max_episode_steps)
    return SeededEpisodes(env, seed_of, place)
