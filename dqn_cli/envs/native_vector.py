"""Vector environments of Gymnasium: one object that steps all copies itself."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing import active_children
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from dqn_cli.agent.spaces import Spaces
from dqn_cli.arrays import Array
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import EnvConfig
from dqn_cli.envs.episode_seeds import EnvSnapshot, SeedFunction
from dqn_cli.envs.info_scalars import InfoReader, vector_scalars
from dqn_cli.envs.make_vector import autoreset_mode, honours_limit, make_vector
from dqn_cli.envs.observation_encoder import ObservationEncoder
from dqn_cli.envs.processes import kill_groups
from dqn_cli.envs.space_adapter import describe_space
from dqn_cli.envs.time_limits import CLOSE_SECONDS, close_all
from dqn_cli.envs.vector_contract import VectorContract, VectorResult
from dqn_cli.envs.vector_envs import VectorEnvs
from dqn_cli.envs.vector_masks import VectorMasks
from dqn_cli.envs.vector_spaces import RowDecoder, encode_rows, take_rows
from dqn_cli.replay.stream import EnvStep

NOT_RESTORABLE = "is a vector environment, which can't be brought back to where it was"


class NativeVector(VectorEnvs):
    """Copies in one `gymnasium.vector.VectorEnv`, whatever its autoreset mode.

    A single seed serves for all copies and episodes, so they can't be restored. With
    `AutoresetMode.NEXT_STEP` a new episode begins one step after an end: such a step is marked
    as `is_reset`, and the observation to act on before it is the final one.
    """

    is_restorable = False

    def __init__(
        self,
        config: EnvConfig,
        num_envs: int,
        seed_function: SeedFunction,
        snapshot: EnvSnapshot,
        max_episode_steps: int | None = None,
        info_names: Sequence[str] = (),
    ) -> None:
        """Make the vector environment.

        Args:
            config: The environment.
            num_envs: Number of copies.
            seed_function: Seeds of the vector.
            snapshot: State of the first copy; one with an observation means that a run resumes.
            max_episode_steps: Length at which episodes are truncated. Unless the mode is
                `DISABLED`, such a copy goes on without a reset and may not be used any longer.
            info_names: Scalars of `info` that each step has.

        Raises:
            EnvironmentFailure: It can't be made or used.
        """
        others = set(active_children())
        self._vector = make_vector(config, num_envs)
        self._processes = [process for process in active_children() if process not in others]
        self._num_envs, self._reader = num_envs, InfoReader(config.id, info_names)
        self._env_id = config.id
        self._contract = VectorContract(self._vector, config.id, config.timeout, self._processes)
        resumes = snapshot.obs is not None
        self._seed = seed_function(snapshot.seed_number + resumes) % 2**31
        self.not_restored = dict.fromkeys(range(num_envs), NOT_RESTORABLE) if resumes else {}
        try:
            self._mode = autoreset_mode(self._vector, config.id)
            self._prepare_spaces(config)
            self._limit = self._limit_of(config, max_episode_steps)
        except (EnvironmentFailure, ValueError) as error:
            self.close()
            if isinstance(error, EnvironmentFailure):
                raise
            raise EnvironmentFailure(f"env={config.id}: {error}") from error
        self._length = np.zeros(num_envs, np.int64)  # of the running episodes
        self._pending = np.zeros(num_envs, bool)  # where the next step is a reset

    def reset(self, actions: int, dtype: np.dtype[Any]) -> tuple[Array, Array, bool]:
        """Start the first episodes."""
        self._dtype = dtype
        self._none_lost = np.zeros(self._num_envs, bool)
        own_obs, info = self._contract.reset(self._seed)
        shape = self._num_envs, actions
        mask, masked = self._masks.start(own_obs, info, shape, self._decoder.joint_masks)
        return self._encoded(own_obs), mask, masked

    def step(self, actions: list[int]) -> EnvStep:
        """Take one action in each copy."""
        result = self._contract.step(self._decoder(np.asarray(actions)))
        resets = self._pending
        if resets.any():
            result.reward[resets] = 0
            result.terminated[resets] = result.truncated[resets] = False
        ended = result.terminated | result.truncated
        self._count(resets, ended, result.truncated)
        scalars = self._scalars(result.info, ended, resets)
        final_obs, final_mask, obs, mask = self._observed(result, ended)
        self._pending = ended if self._mode is AutoresetMode.NEXT_STEP else self._none_lost
        return EnvStep(
            reward=result.reward,
            terminated=result.terminated,
            truncated=result.truncated,
            lost=self._none_lost,
            final_obs=final_obs,
            final_mask=final_mask,
            obs=obs,
            mask=mask,
            info=scalars,
            is_reset=resets if resets.any() else None,
        )

    def newly_seeded(self, ended: Array) -> Array:
        """Return that no copy gets a seed of its own, [envs]."""
        return self._none_lost

    def close(self, patience: float = CLOSE_SECONDS) -> None:
        """Close the vector environment, in `patience` seconds, and end its processes."""
        try:
            close_all([self._vector.close], self._env_id, patience)
        finally:
            kill_groups(self._processes)
            self._vector.closed = True  # or Gymnasium closes it again when it is deleted

    def _prepare_spaces(self, config: EnvConfig) -> None:
        """Find how observations, actions and masks are read.

        Raises:
            ValueError: The spaces can't be used, or there is no mask where one is said to be.
        """
        space = self._vector.single_observation_space
        self._masks = VectorMasks(self._contract, space, config.mask)
        space = self._masks.space
        self._encoder = ObservationEncoder(space, config.drop, config.preprocess.color_axis)
        actions = self._vector.single_action_space
        self._decoder = RowDecoder(actions)
        self.spaces = Spaces(
            self._encoder.parts,
            self._decoder.count,
            0,
            describe_space(space),
            describe_space(actions),
        )

    def _limit_of(self, config: EnvConfig, max_episode_steps: int | None) -> int | None:
        """Return the length at which this class truncates episodes.

        Raises:
            ValueError: `env.max_episode_steps` can't be kept.
        """
        self._own_limit = config.max_episode_steps  # which the environment keeps itself
        if self._own_limit is None or honours_limit(config):
            return max_episode_steps
        if self._mode is not AutoresetMode.DISABLED:
            raise ValueError(
                "env.max_episode_steps can't be kept, because it takes no argument"
                " max_episode_steps and resets itself: give it one, or use env.kwargs"
            )
        limit, self._own_limit = self._own_limit, None
        return limit if max_episode_steps is None else min(limit, max_episode_steps)

    def _count(self, resets: Array, ended: Array, truncated: Array) -> None:
        """Count steps, and truncate episodes at the limit; changes `ended` and `truncated`."""
        if self._limit is None and self._own_limit is None:
            return
        self._length = np.where(resets, 0, self._length + 1)
        if self._limit is not None:
            cut = (self._length >= self._limit) & ~resets & ~ended
            truncated |= cut
            if self._mode is AutoresetMode.DISABLED:
                ended |= cut
        if self._own_limit is not None and (over := (self._length > self._own_limit)).any():
            raise self._contract.failure(
                f"copy {int(over.argmax())} goes on after env.max_episode_steps={self._own_limit}"
            )
        self._length[ended | truncated] = 0

    def _scalars(self, info: dict[str, Any], ended: Array, resets: Array) -> dict[str, Array]:
        """Return the scalars of `info`; NaN where a step is a reset.

        They are read before a reset, which may write into the same arrays.
        """
        if not self._reader.names:
            return {}
        scalars = vector_scalars(self._reader, info, ended)
        return {name: np.where(resets, np.nan, values) for name, values in scalars.items()}

    def _observed(self, result: VectorResult, ended: Array) -> tuple[Array, Array, Array, Array]:
        """Return final observations and masks, and those to act on, as `EnvStep` has them."""
        is_same_step = self._mode is AutoresetMode.SAME_STEP
        acting = np.ones_like(ended) if is_same_step else ~ended
        obs, mask = self._encoded(result.obs), self._masks.read(result.obs, result.info, acting)
        if not ended.any() or self._mode is AutoresetMode.NEXT_STEP:
            return obs, mask, obs, mask
        if is_same_step:
            final = self._contract.final_obs(result.info, ended)
            final_info = result.info.get("final_info")
            final_mask = self._masks.read_final(final, final_info, ended, mask)
            return self._replaced(obs, ended, final), final_mask, obs, mask
        first, info = self._contract.reset(None, ended)
        new_mask = np.where(ended[:, None], self._masks.read(first, info, ended), mask)
        return obs, mask, self._replaced(obs, ended, take_rows(first, ended)), new_mask

    def _replaced(self, obs: Array, ended: Array, own_obs: Any) -> Array:
        """Return a copy of observations with those of the copies that ended replaced."""
        replaced = obs.copy()
        replaced[ended] = self._encoded(own_obs)
        return replaced

    def _encoded(self, own_obs: Any) -> Array:
        """Return a batch of the environment's own observations as a new array, [envs, *shape]."""
        try:
            return np.array(encode_rows(self._encoder, own_obs), self._dtype)
        except ValueError as error:
            raise self._contract.failure(str(error)) from error
