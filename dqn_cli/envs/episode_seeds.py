"""Episodes with seeds of their own, so that a state is an episode's number and its actions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, SupportsFloat

import gymnasium
import numpy as np

from dqn_cli.envs.preprocessing import AnyEnv

SeedOf = Callable[[int], int]

READ = ("action_mask", "life_lost")  # of an environment's info


class EnvSnapshot(NamedTuple):
    """Where an environment stands: by the number of its latest seed, and the actions since.

    But for `native` ones each episode has a seed of its own.
    """

    episode: int = 0
    actions: tuple[int, ...] = ()


def episode_seeds(seed: int, purpose: str, env: int) -> SeedOf:
    """The seed of each episode, by its number, of environment `env` for one purpose of a run."""
    words = [seed, int.from_bytes(purpose.encode(), "little"), env]

    def seed_of(episode: int) -> int:
        return int(np.random.SeedSequence([*words, episode]).generate_state(1)[0])

    return seed_of


class SeededEpisodes(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Resets each episode with a seed of its own; the first one may start in its middle.

    A vector environment resets its parts without a seed, which is why they need this. Replaying an
    episode's actions puts an environment where a run left it, without pickling anything.
    """

    def __init__(self, env: AnyEnv, seed_of: SeedOf, place: EnvSnapshot = EnvSnapshot()) -> None:
        super().__init__(env)
        self._seed_of, self._episode, self._replay = seed_of, place.episode, place.actions

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """The next episode, whatever `seed` says."""
        obs, info = self.env.reset(seed=self._seed_of(self._episode), options=options)
        for action in self._replay:
            obs, _, _, _, info = self.env.step(action)
        self._episode, self._replay = self._episode + 1, ()
        return obs, _told(info)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """The environment's own step; of its info only what a run reads is passed on."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if terminated or truncated:
            # The reset that follows may write into the very array that was handed out here.
            obs = np.copy(obs)
        return obs, reward, terminated, truncated, _told(info)


def _told(info: dict[str, Any]) -> dict[str, Any]:
    return {key: info[key] for key in READ if key in info} if info else info
