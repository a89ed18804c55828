"""Atari games side by side in ale-py's own vector, which steps and shrinks them in C++ threads."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium.vector import AutoresetMode

from dqn_cli.arrays import Array
from dqn_cli.envs.env_config import EnvConfig, EnvironmentFailure, check_installed
from dqn_cli.envs.episode_seeds import EnvSnapshot, SeedOf
from dqn_cli.envs.preprocessing import Atari
from dqn_cli.hardware import available_cores
from dqn_cli.replay.stream import EnvStep

# Seeding a game loads it anew, which takes as long as 200 steps. So its next seed is due at the
# first episode's end after so many steps, and a run that goes on replays few actions more.
STEPS_OF_A_SEED = 10_000


class NativeAtari:
    """Copies of one game, with the answers of `SyncEnvs`.

    An environment's state is its latest seed and the actions since, through the ends of episodes.
    """

    def __init__(
        self,
        config: EnvConfig,
        seed_ofs: Sequence[SeedOf],
        places: Sequence[EnvSnapshot],
        max_episode_steps: int | None,
    ) -> None:
        """EnvironmentFailure if the environment is no game of ALE."""
        check_installed(config)
        protocol = config.preprocess
        assert isinstance(protocol, Atari)
        from ale_py.vector_env import AtariVectorEnv

        frames = protocol.max_frames
        if max_episode_steps is not None:
            frames = min(frames, max_episode_steps * protocol.frame_skip)
        try:
            self._vector = AtariVectorEnv(
                gymnasium.spec(config.id).kwargs["game"],
                len(seed_ofs),
                num_threads=min(len(seed_ofs), available_cores()),
                max_num_frames_per_episode=frames,
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
            raise EnvironmentFailure(f"env={config.id} is no game of ALE: {error}") from error
        self.observation_space = self._vector.single_observation_space
        self._life_counts = protocol.loss_of_life
        self._seed_ofs = seed_ofs
        self._seeds = [place.episode for place in places]  # numbers of the latest ones
        self._replay = [place.actions for place in places]
        self._since = np.array([len(actions) for actions in self._replay])  # steps
        self._due: Array = np.zeros(len(seed_ofs), bool)  # got a new seed when it last ended

    def reset(self, actions: int, dtype: np.dtype[Any]) -> tuple[Array, Array, bool]:
        """First observations and masks, once each game has been brought to its place."""
        rows = len(self._seed_ofs)
        self._mask = np.ones((rows, actions), bool)
        self._reseed(np.ones(rows, bool))
        longest = self._since.max()
        for step in range(longest):
            # Replays end together, so each begins when as many steps are left as it has.
            left = longest - step
            if step and (self._since == left).any():
                self._reseed(self._since == left)
            taken = [row[-left] if left <= len(row) else 0 for row in self._replay]
            self._obs, _, _, _, info = self._vector.step(np.array(taken))
            self._lives = info["lives"]
        if longest and (self._since == 0).any():
            self._reseed(self._since == 0)
        return self._obs, self._mask, False

    def step(self, actions: list[int]) -> EnvStep:
        """What the games answer, each array with a leading axis of games."""
        obs, reward, terminated, truncated, info = self._vector.step(np.array(actions))
        ended = terminated | truncated
        lost = (info["lives"] < self._lives) & ~ended & self._life_counts
        self._obs, self._lives = obs, info["lives"]
        self._since += 1
        final_obs = obs
        if ended.any():
            final_obs = obs.copy()
            final_obs[ended] = info["final_obs"][ended]
            due = self._due = ended & (self._since >= STEPS_OF_A_SEED)
            for row in np.flatnonzero(due).tolist():
                self._seeds[row] += 1
            if due.any():
                self._reseed(due)
                self._since[due] = 0
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

    def reseeded(self, ended: Array) -> Array:
        """Which of the games that ended began an episode with a new seed."""
        return self._due

    def close(self) -> None:
        """Ends the games and their threads, which ale-py's own `close` leaves alone."""
        self._vector.close()
        self._vector.ale = None  # type: ignore[assignment]

    def _reseed(self, rows: Array) -> None:
        """Begins an episode in these rows, with the seed whose turn it is."""
        chosen = np.flatnonzero(rows).tolist()
        # ale-py takes 31 bits.
        seeds = [self._seed_ofs[row](self._seeds[row]) % 2**31 for row in chosen]
        options = None if rows.all() else {"reset_mask": rows}
        self._obs, info = self._vector.reset(seed=np.array(seeds), options=options)
        self._lives = info["lives"]
