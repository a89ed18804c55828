"""Seeds of episodes, and states of environments as a seed and the actions taken since.

Replaying actions restores an environment that cannot be pickled.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, Protocol, SupportsFloat, TypeVar

import gymnasium
import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.info_scalars import SCALARS, InfoReader
from dqn_cli.envs.preprocessing import AnyEnv

Result = TypeVar("Result")
SeedFunction = Callable[[int], int]  # from a seed's number in its sequence to the seed

INFO_KEYS = ("action_mask", "life_lost")  # the entries of `info` that a run uses
NOT_RESTORED = "not_restored"  # in the first `info`: why the environment left its snapshot
SEED = "does not repeat its seed"


class EnvSnapshot(NamedTuple):
    """The state of an environment: its latest seed and the actions taken since.

    Every episode has its own seed, except with vectorization=native, where a seed may serve for
    several episodes and `actions` then go back through all of them.
    """

    seed_number: int = 0  # the latest seed is the seed function's value at this number
    actions: tuple[int, ...] = ()
    obs: Array | None = None  # the observation that they led to, if it is known


class CallGuard(Protocol):
    """A function that makes the calls of an environment, to note them or to limit their time."""

    def __call__(self, seed: int, step: int, call: Callable[[], Result]) -> Result:
        """Return the result of a step, or of the reset (step 0), of the episode with this seed."""


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
        self,
        env: AnyEnv,
        seed_function: SeedFunction,
        snapshot: EnvSnapshot = EnvSnapshot(),
        read_info: InfoReader | None = None,
    ) -> None:
        super().__init__(env)
        self._read_info = read_info
        self._seed_function = seed_function
        self._next_number, self._snapshot = snapshot.seed_number, snapshot
        self._seed = self._steps = 0  # of the running episode
        self.guard: CallGuard | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Start the next episode, whatever `seed` is."""
        obs, info = self._begin(options)
        snapshot, self._snapshot = self._snapshot, EnvSnapshot()
        obs, info, reason = self._replay(snapshot, obs, info)
        if reason is None:
            return obs, _used_info(info)
        obs, info = self._begin(options)
        return obs, _used_info(info) | {NOT_RESTORED: f"{SEED}: {reason}"}

    def _begin(self, options: dict[str, Any] | None) -> tuple[Any, dict[str, Any]]:
        """Start an episode with the next seed."""
        self._seed, self._steps = self._seed_function(self._next_number), 0
        self._next_number += 1
        reset = partial(self.env.reset, seed=self._seed, options=options)
        return reset() if self.guard is None else self.guard(self._seed, 0, reset)

    def _take(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        if self.guard is None:
            return self.env.step(action)
        self._steps += 1
        return self.guard(self._seed, self._steps, partial(self.env.step, action))

    def _replay(
        self, snapshot: EnvSnapshot, obs: Any, info: dict[str, Any]
    ) -> tuple[Any, dict[str, Any], str | None]:
        """Take the snapshot's actions; return the result, and why it is not the snapshot's."""
        total = len(snapshot.actions)
        for count, action in enumerate(snapshot.actions, start=1):
            try:
                obs, _, terminated, truncated, info = self._take(action)
            except EnvironmentFailure as failure:  # an action may be illegal in another state
                return obs, info, f"action {count} of {total} failed when replayed ({failure})"
            if terminated or truncated:
                return obs, info, f"its episode ended at action {count} of {total} when replayed"
        if snapshot.obs is not None and not _equal(obs, snapshot.obs):
            return obs, info, f"{total} actions led to another observation when replayed"
        return obs, info, None

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment and keep only the entries of `info` that a run uses."""
        obs, reward, terminated, truncated, info = self._take(action)
        if terminated or truncated:
            # The reset that follows may write into this very array.
            obs = np.copy(obs)
        used = _used_info(info)
        if self._read_info is not None:
            used = used | {SCALARS: self._read_info(info)}
        return obs, reward, terminated, truncated, used


def _equal(obs: Any, stored: Array) -> bool:
    return np.array_equal(np.asarray(obs).astype(stored.dtype), stored)


def _used_info(info: dict[str, Any]) -> dict[str, Any]:
    return {key: info[key] for key in INFO_KEYS if key in info} if info else info
