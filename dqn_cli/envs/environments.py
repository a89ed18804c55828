"""The environments of a run: stepped together, each episode with its own seed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
from gymnasium.wrappers import TimeLimit

from dqn_cli.arrays import Array
from dqn_cli.envs.async_envs import AsyncEnvs
from dqn_cli.envs.env_config import (
    EnvConfig,
    EnvironmentFailure,
    Vectorization,
    make,
    storage_dtype,
)
from dqn_cli.envs.episode_seeds import EnvSnapshot, SeededEpisodes, SeedOf
from dqn_cli.envs.native_atari import NativeAtari
from dqn_cli.envs.preprocessing import AnyEnv
from dqn_cli.envs.sync_envs import SyncEnvs
from dqn_cli.replay.stream import EnvStep


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
        places: Sequence[EnvSnapshot] | None = None,
        max_episode_steps: int | None = None,
    ) -> None:
        """Starts an environment for each of `seed_ofs` [members, envs], or puts it in its place."""
        self._shape = (len(seed_ofs), len(seed_ofs[0]))
        flat = [seed_of for member in seed_ofs for seed_of in member]
        places = places or [EnvSnapshot()] * len(flat)
        self._envs = _side_by_side(config, flat, places, max_episode_steps)
        self._id = config.id
        self._episodes = [place.episode for place in places]
        self._actions = [list(place.actions) for place in places]
        probe, self.spaces = make(config)
        probe.close()
        stored = storage_dtype(self._envs.observation_space, dtype)
        obs, mask, self.masked = self._envs.reset(self.spaces.actions, stored)
        self.obs, self.mask = self._shaped(obs), self._shaped(mask)
        self._check_finite("observation", self.obs)

    @property
    def places(self) -> list[EnvSnapshot]:
        """Where each environment stands, for a run that goes on later."""
        pairs = zip(self._episodes, self._actions, strict=True)
        return [EnvSnapshot(episode, tuple(actions)) for episode, actions in pairs]

    def step(self, action: Array) -> EnvStep:
        """Takes `action` [members, envs]; EnvironmentFailure on a NaN or infinite answer."""
        actions = action.ravel().tolist()
        step = self._envs.step(actions)
        for taken, since in zip(actions, self._actions, strict=True):
            since.append(taken)
        self._check_finite("reward", step.reward)
        self._check_finite("observation", step.final_obs)
        final_obs, final_mask = self._shaped(step.final_obs), self._shaped(step.final_mask)
        self.obs, self.mask = final_obs, final_mask
        if step.obs is not step.final_obs:
            self._check_finite("observation", step.obs)
            for row in np.flatnonzero(self._envs.reseeded(step.ended)).tolist():
                self._episodes[row] += 1
                self._actions[row] = []
            self.obs, self.mask = self._shaped(step.obs), self._shaped(step.mask)
        reward, terminated, truncated, lost = (
            rows.reshape(self._shape)
            for rows in step[:4]  # each [members, envs]
        )
        return EnvStep(
            reward, terminated, truncated, lost, final_obs, final_mask, self.obs, self.mask
        )

    def close(self) -> None:
        """Closes every environment."""
        self._envs.close()

    def _shaped(self, rows: Array) -> Array:
        return rows.reshape(self._shape + rows.shape[1:])  # [members, envs, ...]

    def _check_finite(self, what: str, values: Array) -> None:
        if values.dtype.kind != "f":
            return
        # Made sooner than a look at each number, but it may be infinite of finite ones.
        squares = np.vdot(values, values)
        if not math.isfinite(squares) and not np.isfinite(values).all():
            raise EnvironmentFailure(f"env={self._id} gave a {what} that is not a finite number")


def _side_by_side(
    config: EnvConfig,
    seed_ofs: Sequence[SeedOf],
    places: Sequence[EnvSnapshot],
    max_episode_steps: int | None,
) -> SyncEnvs | AsyncEnvs | NativeAtari:
    """An environment for each seed, in its place."""
    if config.vectorization is Vectorization.native:
        return NativeAtari(config, seed_ofs, places, max_episode_steps)
    makers = [
        partial(_seeded, config, seed_of, place, max_episode_steps)
        for seed_of, place in zip(seed_ofs, places, strict=True)
    ]
    is_async = config.vectorization is Vectorization["async"]
    return (AsyncEnvs if is_async else SyncEnvs)(config.id, makers)


def _seeded(
    config: EnvConfig, seed_of: SeedOf, place: EnvSnapshot, max_episode_steps: int | None
) -> AnyEnv:
    env, _ = make(config)
    if max_episode_steps is not None:
        env = TimeLimit(env, max_episode_steps)
    return SeededEpisodes(env, seed_of, place)
