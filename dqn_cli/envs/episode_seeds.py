"""Seeds of episodes, and states of environments as a seed and the actions taken since.

Replaying actions restores an environment that cannot be pickled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, SupportsFloat

import gymnasium
import numpy as np

from dqn_cli.envs.preprocessing import AnyEnv

SeedFunction = Callable[[int], int]  # from a seed's number in its sequence to the seed

INFO_KEYS = ("action_mask", "life_lost")  # the entries of `info` that a run uses


class EnvSnapshot(NamedTuple):
    """The state of an environment: its latest seed and the actions taken since.

    Every episode has its own seed, except with vectorization=native, where a seed may serve for
    several episodes and `actions` then go back through all of them.
    """

    seed_number: int = 0  # the latest seed is the seed function's value at this number
    actions: tuple[int, ...] = ()


def episode_seeds(seed: int, purpose: str, env: int) -> SeedFunction:
    """Return the seed function of one environment, for one purpose of a run."""
    entropy = [seed, int.from_bytes(purpose.encode(), "little"), env]

    def seed_function(number: int) -> int:
        return int(np.random.SeedSequence([*entropy, number]).generate_state(1)[0])

    return seed_function


class SeededEpisodes(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Resets each episode with its own seed; the first one may start from a snapshot.

    Vector environments reset their parts without a seed, so this wrapper supplies it.
    """

    def __init__(
        self, env: AnyEnv, seed_function: SeedFunction, snapshot: EnvSnapshot = EnvSnapshot()
    ) -> None:
        super().__init__(env)
        self._seed_function = seed_function
        self._next_number, self._replay = snapshot.seed_number, snapshot.actions

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start the next episode, whatever `seed` is."""
        obs, info = self.env.reset(seed=self._seed_function(self._next_number), options=options)
        for action in self._replay:
            obs, _, _, _, info = self.env.step(action)
        self._next_number, self._replay = self._next_number + 1, ()
        return obs, _used_info(info)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment and keep only the entries of `info` that a run uses."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            # The reset that follows may write into this very array.
            obs = np.copy(obs)
        return obs, reward, terminated, truncated, _used_info(info)


def _used_info(info: dict[str, Any]) -> dict[str, Any]:
    return {key: info[key] for key in INFO_KEYS if key in info} if info else info
