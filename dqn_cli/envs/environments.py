"""The environments of a run, stepped together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial

import numpy as np
from gymnasium.wrappers import TimeLimit

from dqn_cli.agent.spaces import Spaces
from dqn_cli.arrays import Array
from dqn_cli.envs.async_envs import AsyncEnvs
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import EnvConfig, Vectorization, make_env, observation_dtype
from dqn_cli.envs.episode_seeds import EnvSnapshot, SeededEpisodes, SeedFunction
from dqn_cli.envs.info_scalars import InfoReader
from dqn_cli.envs.joined_envs import JoinedEnvs
from dqn_cli.envs.native_atari import NativeAtari
from dqn_cli.envs.native_vector import NativeVector
from dqn_cli.envs.preprocessing import AnyEnv
from dqn_cli.envs.sync_envs import SyncEnvs
from dqn_cli.envs.time_limits import CLOSE_SECONDS, MAKING, TimedCalls, close_all
from dqn_cli.envs.vector_envs import VectorEnvs
from dqn_cli.replay.stream import EnvStep

MAX_REWARD = float(np.finfo(np.float32).max)  # rewards are stored with this precision


class Environments:
    """Environments with leading axes [members, envs].

    The next actions are chosen from `obs` and `mask`. Where an episode ends, the next one starts in
    the same step, so that every step is a transition of every environment.
    """

    def __init__(
        self,
        config: EnvConfig,
        seed_functions: Sequence[Sequence[SeedFunction]],
        dtype: str,
        snapshots: Sequence[EnvSnapshot] | None = None,
        max_episode_steps: int | None = None,
        info_names: Sequence[str] = (),
    ) -> None:
        """Start the environments, or bring each to the state in its snapshot.

        Args:
            config: The environment and its preprocessing.
            seed_functions: One for each environment, [members, envs].
            dtype: Type of observations, unless they are bytes.
            snapshots: One for each environment, first those of the first member.
            max_episode_steps: Length at which episodes are truncated.
            info_names: Scalars of the environment's `info` that each step has.
        """
        self._shape = (len(seed_functions), len(seed_functions[0]))
        flat = [seed_function for member in seed_functions for seed_function in member]
        snapshots = snapshots or [EnvSnapshot()] * len(flat)
        self._envs = _make_vector(
            config, flat, snapshots, max_episode_steps, info_names, len(seed_functions)
        )
        try:
            self._start(config, snapshots, dtype)
        except BaseException:
            self._envs.close()
            raise

    def _start(self, config: EnvConfig, snapshots: Sequence[EnvSnapshot], dtype: str) -> None:
        """Reset the environments."""
        self._env_id = config.id
        self._seed_numbers = [snapshot.seed_number for snapshot in snapshots]
        self._actions = [list(snapshot.actions) for snapshot in snapshots]
        self.spaces = self._envs.spaces
        stored_as = observation_dtype(self.spaces, dtype)
        obs, mask, self.masked = self._envs.reset(self.spaces.actions, stored_as)
        self.not_restored = self._envs.not_restored
        for row in self.not_restored:
            self._seed_numbers[row] += 1
            self._actions[row] = []
        self.obs, self.mask = self._shaped(obs), self._shaped(mask)
        self._check_finite("observation", self.obs)

    @property
    def snapshots(self) -> list[EnvSnapshot]:
        """The state of each environment, first those of the first member."""
        pairs = zip(self._seed_numbers, self._actions, strict=True)
        return [EnvSnapshot(seed_number, tuple(actions)) for seed_number, actions in pairs]

    def step(self, action: Array) -> EnvStep:
        """Take the actions [members, envs].

        Raises:
            EnvironmentFailure: A reward or observation is NaN or infinite.
        """
        actions = action.ravel().tolist()
        step = self._envs.step(actions)
        # A run that fails here is saved as it was before the step.
        self._check_reward(step.reward)
        self._check_finite("observation", step.final_obs)
        if step.obs is not step.final_obs:
            self._check_finite("observation", step.obs)
        if self._envs.is_restorable:
            for index, since_seed in zip(actions, self._actions, strict=True):
                since_seed.append(index)
        final_obs, final_mask = self._shaped(step.final_obs), self._shaped(step.final_mask)
        self.obs, self.mask = final_obs, final_mask
        if step.obs is not step.final_obs:
            for row in np.flatnonzero(self._envs.newly_seeded(step.ended)).tolist():
                self._seed_numbers[row] += 1
                self._actions[row] = []
            self.obs, self.mask = self._shaped(step.obs), self._shaped(step.mask)
        return EnvStep(
            reward=step.reward.reshape(self._shape),  # [members, envs], as are the three below
            terminated=step.terminated.reshape(self._shape),
            truncated=step.truncated.reshape(self._shape),
            lost=step.lost.reshape(self._shape),
            final_obs=final_obs,
            final_mask=final_mask,
            obs=self.obs,
            mask=self.mask,
            info=self._shaped_info(step.info) if step.info else {},
            is_reset=None if step.is_reset is None else self._shaped(step.is_reset),
        )

    def close(self, patience: float = CLOSE_SECONDS) -> None:
        """Close every environment; what fails or takes longer than `patience` gets a warning."""
        self._envs.close(patience)

    def _shaped_info(self, info: Mapping[str, Array]) -> dict[str, Array]:
        return {name: self._shaped(values) for name, values in info.items()}

    def _shaped(self, rows: Array) -> Array:
        return rows.reshape(self._shape + rows.shape[1:])  # [members, envs, ...]

    def _check_reward(self, reward: Array) -> None:
        # The sum of squares is a cheap first test, as below; it is NaN if any reward is.
        if np.vdot(reward, reward) <= MAX_REWARD**2:
            return
        self._check_finite("reward", reward)
        if np.abs(reward).max() > MAX_REWARD:
            raise EnvironmentFailure(
                f"env={self._env_id} gave a reward of {np.abs(reward).max():g}; at most"
                f" {MAX_REWARD:g} can be stored"
            )

    def _check_finite(self, name: str, values: Array) -> None:
        if values.dtype.kind != "f":
            return
        # The sum of squares is a cheap first test; it may overflow though all values are finite.
        squares = np.vdot(values, values)
        if not math.isfinite(squares) and not np.isfinite(values).all():
            raise EnvironmentFailure(
                f"env={self._env_id} gave a {name} that is not a finite number"
            )


def read_spaces(config: EnvConfig) -> Spaces:
    """Return the spaces of an environment, which is made and closed.

    Raises:
        EnvironmentFailure: It can't be made.
    """
    if config.is_native_vector:
        vector = NativeVector(config, config.num_envs, lambda _: 0, EnvSnapshot())
        vector.close()
        return vector.spaces
    calls = TimedCalls(config.id, config.timeout)
    env, spaces = calls.limited(partial(make_env, config), MAKING)
    close_all([env.close], config.id)
    return spaces


def _make_vector(
    config: EnvConfig,
    seed_functions: Sequence[SeedFunction],
    snapshots: Sequence[EnvSnapshot],
    max_episode_steps: int | None,
    info_names: Sequence[str],
    members: int,
) -> VectorEnvs:
    """Make one environment for each seed function, in the state of its snapshot."""
    if config.is_native_vector:
        size = len(seed_functions) // members
        firsts = list(zip(seed_functions, snapshots, strict=True))[::size]  # of each member
        limits = max_episode_steps, info_names
        return _join_vectors([partial(NativeVector, config, size, *own, *limits) for own in firsts])
    if config.vectorization is Vectorization.native:
        return NativeAtari(config, seed_functions, snapshots, max_episode_steps)
    read_info = InfoReader(config.id, info_names) if info_names else None
    env_fns = [
        partial(_make_seeded, config, seed_function, snapshot, max_episode_steps, read_info)
        for seed_function, snapshot in zip(seed_functions, snapshots, strict=True)
    ]
    if config.vectorization is Vectorization["async"]:
        return AsyncEnvs(config.id, env_fns, info_names, config.timeout)
    calls = TimedCalls(config.id, config.timeout)
    return SyncEnvs(
        config.id, [partial(_make_timed, calls, env_fn) for env_fn in env_fns], info_names
    )


def _join_vectors(vector_fns: Sequence[Callable[[], NativeVector]]) -> VectorEnvs:
    """Make a vector environment for each member, which has the seeds of its first copy."""
    with ExitStack() as made:  # closes those that exist if another can't be made
        vectors = [made.enter_context(closing(make_vector())) for make_vector in vector_fns]
        made.pop_all()
    return vectors[0] if len(vectors) == 1 else JoinedEnvs(vectors)


def _make_timed(
    calls: TimedCalls, make_seeded: Callable[[], tuple[SeededEpisodes, Spaces]]
) -> tuple[AnyEnv, Spaces]:
    env, spaces = calls.limited(make_seeded, MAKING)
    env.guard = None if calls.seconds is None else calls
    return env, spaces


def _make_seeded(
    config: EnvConfig,
    seed_function: SeedFunction,
    snapshot: EnvSnapshot,
    max_episode_steps: int | None,
    read_info: InfoReader | None,
) -> tuple[SeededEpisodes, Spaces]:
    env, spaces = make_env(config)
    if max_episode_steps is not None:
        env = TimeLimit(env, max_episode_steps)
    return SeededEpisodes(env, seed_function, snapshot, read_info), spaces
