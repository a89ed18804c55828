"""Atari games in ale-py's own vector environment, which steps and resizes them in C++ threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from dqn_cli.arrays import Array
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import EnvConfig, check_installed, make_env
from dqn_cli.envs.episode_seeds import SEED, EnvSnapshot, SeedFunction
from dqn_cli.envs.preprocessing import Atari
from dqn_cli.envs.time_limits import CLOSE_SECONDS
from dqn_cli.envs.vector_envs import VectorEnvs
from dqn_cli.hardware import available_cores
from dqn_cli.replay.stream import EnvStep

# Seeding a game loads it anew, which is slow, so a seed serves for at least this many steps. More
# steps would mean more actions to replay when a run resumes.
MIN_STEPS_PER_SEED = 10_000


class NativeAtari(VectorEnvs):
    """Copies of one game.

    A seed serves for several episodes. The next one is due when an episode ends after
    `MIN_STEPS_PER_SEED` steps.
    """

    def __init__(
        self,
        config: EnvConfig,
        seed_functions: Sequence[SeedFunction],
        snapshots: Sequence[EnvSnapshot],
        max_episode_steps: int | None,
    ) -> None:
        """Load the game once for each seed function.

        Raises:
            EnvironmentFailure: The environment is not a game of ALE.
        """
        check_installed(config)
        probe, self.spaces = make_env(config)
        probe.close()
        protocol = config.preprocess
        assert isinstance(protocol, Atari)
        from ale_py.vector_env import AtariVectorEnv

        max_frames = protocol.max_frames
        for limit in (max_episode_steps, config.max_episode_steps):
            if limit is not None:
                max_frames = min(max_frames, limit * protocol.frame_skip)
        try:
            self._vector = AtariVectorEnv(
                gymnasium.spec(config.id).kwargs["game"],
                len(seed_functions),
                num_threads=min(len(seed_functions), available_cores()),
                max_num_frames_per_episode=max_frames,
                repeat_action_probability=protocol.sticky,
                full_action_space=protocol.full_actions,
                autoreset_mode=AutoresetMode.SAME_STEP,
                img_height=protocol.size,
                img_width=protocol.size,
                grayscale=protocol.grayscale,
                stack_num=protocol.stack,
                frameskip=protocol.frame_skip,
                noop_max=protocol.noop_max,
                use_fire_reset=protocol.fire_on_reset,
                reward_clipping=False,
            )
        except (KeyError, gymnasium.error.Error) as error:
            raise EnvironmentFailure(f"env={config.id} is not a game of ALE: {error}") from error
        self._marks_lost_lives = protocol.loss_of_life
        self._seed_functions = seed_functions
        self._seed_numbers = [snapshot.seed_number for snapshot in snapshots]
        self._replay = [snapshot.actions for snapshot in snapshots]
        self._expected = [snapshot.obs for snapshot in snapshots]
        self._steps_since_seed = np.array([len(actions) for actions in self._replay])
        self._newly_seeded: Array = np.zeros(len(seed_functions), bool)

    def reset(self, actions: int, dtype: np.dtype[Any]) -> tuple[Array, Array, bool]:
        """Start each game and replay the actions of its snapshot."""
        num_envs = len(self._seed_functions)
        self._mask = np.ones((num_envs, actions), bool)
        self._reseed(np.ones(num_envs, bool))
        longest = self._steps_since_seed.max()
        for step in range(longest):
            # All replays end together: each starts when as many steps are left as it has actions.
            left = longest - step
            if step and (self._steps_since_seed == left).any():
                self._reseed(self._steps_since_seed == left)
            replayed = [row[-left] if left <= len(row) else 0 for row in self._replay]
            self._obs, _, _, _, info = self._vector.step(np.array(replayed))
            self._lives = info["lives"]
        if longest and (self._steps_since_seed == 0).any():
            self._reseed(self._steps_since_seed == 0)
        differs = np.array([not self._is_restored(row) for row in range(num_envs)])
        reason = f"{SEED}: its actions led to another frame when replayed"
        self.not_restored = dict.fromkeys(np.flatnonzero(differs).tolist(), reason)
        if self.not_restored:
            for row in self.not_restored:
                self._seed_numbers[row] += 1
            self._reseed(differs)
            self._steps_since_seed[differs] = 0
        return self._obs, self._mask, False

    def step(self, actions: list[int]) -> EnvStep:
        """Take one action in each game."""
        obs, reward, terminated, truncated, info = self._vector.step(np.array(actions))
        ended = terminated | truncated
        lost = (info["lives"] < self._lives) & ~ended & self._marks_lost_lives
        self._obs, self._lives = obs, info["lives"]
        self._steps_since_seed += 1
        final_obs = obs
        if ended.any():
            final_obs = obs.copy()
            final_obs[ended] = info["final_obs"][ended]
            self._newly_seeded = ended & (self._steps_since_seed >= MIN_STEPS_PER_SEED)
            for row in np.flatnonzero(self._newly_seeded).tolist():
                self._seed_numbers[row] += 1
            if self._newly_seeded.any():
                self._reseed(self._newly_seeded)
                self._steps_since_seed[self._newly_seeded] = 0
        return EnvStep(
            reward=reward.astype(float),
            terminated=terminated,
            truncated=truncated,
            lost=lost,
            final_obs=final_obs,
            final_mask=self._mask,
            obs=self._obs,
            mask=self._mask,
        )

    def newly_seeded(self, ended: Array) -> Array:
        """Return which of the games that `ended` got a new seed, [envs]."""
        return self._newly_seeded

    def close(self, patience: float = CLOSE_SECONDS) -> None:
        """End the games and their threads, which ale-py's own `close` leaves running."""
        self._vector.close()
        self._vector.ale = None  # type: ignore[assignment]

    def _is_restored(self, row: int) -> bool:
        expected = self._expected[row]
        return expected is None or np.array_equal(self._obs[row], expected)

    def _reseed(self, rows: Array) -> None:
        """Start an episode in these rows with their latest seeds."""
        chosen = np.flatnonzero(rows).tolist()
        # ale-py takes 31 bits.
        seeds = [self._seed_functions[row](self._seed_numbers[row]) % 2**31 for row in chosen]
        options = None if rows.all() else {"reset_mask": rows}
        self._obs, info = self._vector.reset(seed=np.array(seeds), options=options)
        self._lives = info["lives"]
