"""Logs of CartPole-v1, as files have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from dqn_cli.arrays import Array

Log = dict[str, Array]


def cartpole_log(**changes: Any) -> Log:
    """The columns of five made-up steps, some of which are changed; None leaves one out.

    The first episode terminates after three actions, the second is truncated after two.
    """
    after = np.arange(20, dtype=np.float32).reshape(5, 4) + 100
    obs = np.concatenate([[[0, 1, 2, 3]], after[:2], [[4, 5, 6, 7]], after[3:4]])
    columns = {
        "observations": obs.astype(np.float32),
        "actions": np.array([0, 1, 0, 1, 1]),
        "rewards": np.array([1.0, 2.0, 4.0, 8.0, 16.0]),
        "terminations": np.array([False, False, True, False, False]),
        "truncations": np.array([False, False, False, False, True]),
        "next_observations": after,
    }
    return {name: values for name, values in (columns | changes).items() if values is not None}


def random_log(file: Path, steps: int = 60, seed: int = 0) -> Path:
    """Writes what a random policy does in CartPole-v1; the last episode is cut."""
    env = gymnasium.make("CartPole-v1")
    env.action_space.seed(seed)
    obs, _ = env.reset(seed=seed)
    rows: list[tuple[Any, ...]] = []
    for step in range(steps):
        action = env.action_space.sample()
        after, reward, terminated, _, _ = env.step(action)
        cut = step == steps - 1 and not terminated
        rows.append((obs, action, reward, terminated, cut, after))
        obs = env.reset()[0] if terminated else after
    names = ("observations", "actions", "rewards", "terminations", "truncations")
    columns = map(np.array, zip(*rows, strict=True))
    np.savez(file, **dict(zip((*names, "next_observations"), columns, strict=True)))
    return file
