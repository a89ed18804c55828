"""Time the parts of a dqn-train run by environment step, and the bare environments beside them.

The words of the command are the arguments after an id, a vectorization and two numbers of calls of
`Environments.step`, between which the clock runs. The bare environments take the same actions from
the same seeds.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

from dqn_cli.commands.train import dispatch
from dqn_cli.envs.env_config import Vectorization
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.episode_seeds import SeedFunction, episode_seeds
from dqn_cli.training import loop
from dqn_cli.training.learner import Learner
from dqn_cli.training.randomness import Purpose

SEED = 0


class PartTimer:
    """Seconds of parts of a run, between two calls of `Environments.step`."""

    def __init__(self, first: int, last: int) -> None:
        self._first, self._last = first, last
        self._seconds: dict[str, float] = {}
        self.actions: list[np.ndarray] = []
        self.reward = 0.0

    def watch(self, owner: Any, name: str) -> None:
        """Time the calls of a function of a class or module."""
        function = getattr(owner, name)

        def timed(*arguments: Any) -> Any:
            start = time.perf_counter()
            result = function(*arguments)
            seconds = time.perf_counter() - start
            self._seconds[name] = self._seconds.get(name, 0.0) + seconds
            return result

        setattr(owner, name, timed)

    def watch_steps(self, report: Callable[[dict[str, float]], None]) -> None:
        """Time steps of the environments, and report after the last call."""
        step = Environments.step

        def timed(envs: Environments, action: np.ndarray) -> Any:
            if len(self.actions) == self._first:
                self._seconds, self._start = {}, time.perf_counter()
            if len(self.actions) == self._last:
                total = time.perf_counter() - self._start
                report({"total": total} | self._seconds)
            self.actions.append(action.ravel().copy())
            start = time.perf_counter()
            result = step(envs, action)
            self._seconds["step"] = self._seconds.get("step", 0.0) + time.perf_counter() - start
            self.reward += float(result.reward.sum())
            return result

        Environments.step = timed  # type: ignore[method-assign]


def bare_vector(env_id: str, actions: list[np.ndarray], first: int) -> tuple[float, float]:
    """Return the seconds of a native vector's steps from `first` on, and the sum of rewards."""
    vector = gymnasium.make_vec(env_id, actions[0].size, vectorization_mode="vector_entry_point")
    vector.reset(seed=seed_of(0)(0) % 2**31)
    start, total = 0.0, 0.0
    for number, action in enumerate(actions):
        if number == first:
            start = time.perf_counter()
        total += float(vector.step(action)[1].sum())
    return time.perf_counter() - start, total


def bare_list(env_id: str, actions: list[np.ndarray], first: int) -> tuple[float, float]:
    """Return the seconds of a list of environments' steps, resets included, as `bare_vector`."""
    envs = [gymnasium.make(env_id, disable_env_checker=True) for _ in actions[0]]
    seeds, episodes = [seed_of(row) for row in range(len(envs))], [0] * len(envs)
    for env, seed in zip(envs, seeds, strict=True):
        env.reset(seed=seed(0))
    start, total = 0.0, 0.0
    for number, action in enumerate(actions):
        if number == first:
            start = time.perf_counter()
        for row, (env, choice) in enumerate(zip(envs, action.tolist(), strict=True)):
            _, reward, terminated, truncated, _ = env.step(choice)
            total += float(reward)
            if terminated or truncated:
                episodes[row] += 1
                env.reset(seed=seeds[row](episodes[row]))
    return time.perf_counter() - start, total


def seed_of(row: int) -> SeedFunction:
    return episode_seeds(SEED, Purpose.environment.value, row)


def main() -> None:
    env_id, vectorization = sys.argv[1], sys.argv[2]
    first, last = int(sys.argv[3]), int(sys.argv[4])
    timer = PartTimer(first, last)
    bare = bare_vector if vectorization == Vectorization.native.name else bare_list

    def report(seconds: dict[str, float]) -> None:
        own, reward = bare(env_id, timer.actions, first)
        assert reward == timer.reward, f"other rewards: {reward:g}, not {timer.reward:g}"
        steps = (last - first) * timer.actions[0].size
        parts = seconds | {"environment": own}
        print(json.dumps({name: value / steps * 1e6 for name, value in parts.items()}), flush=True)
        os._exit(0)

    timer.watch(Learner, "act")
    timer.watch(loop, "learn")
    timer.watch_steps(report)
    with tempfile.TemporaryDirectory() as folder:
        words = (f"env.vectorization={vectorization}", f"seed={SEED}")
        dispatch([*sys.argv[5:], *words, f"hydra.run.dir={folder}/run"])


main()
