"""Environments of `recorded_vector`, as a run makes them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from conftest import PLAIN
from recorded_vector import ACTIONS

from dqn_cli.envs import make_vector, native_vector
from dqn_cli.envs.env_config import EnvConfig, Vectorization
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.episode_seeds import EnvSnapshot, episode_seeds
from dqn_cli.envs.masks import MaskSource

MODES = ["NEXT_STEP", "SAME_STEP", "DISABLED"]


def config(name: str = "make", **kwargs: Any) -> EnvConfig:
    env_id = name if "-v" in name else f"recorded_vector:{name}"
    native = Vectorization.native
    return EnvConfig(env_id, kwargs, 4, native, PLAIN, MaskSource.auto)


def started(
    env_config: EnvConfig,
    envs: int = 4,
    members: int = 1,
    snapshots: list[EnvSnapshot] | None = None,
    max_episode_steps: int | None = None,
    info_names: tuple[str, ...] = (),
    dtype: str = "float32",
) -> Environments:
    seeds = [[episode_seeds(m, "environment", env) for env in range(envs)] for m in range(members)]
    return Environments(env_config, seeds, dtype, snapshots, max_episode_steps, info_names)


def take(envs: Environments, steps: int) -> None:
    for _ in range(steps):
        envs.step(np.zeros((1, 4), int))


def random_actions(seed: int, copies: int) -> Any:
    return np.random.default_rng(seed).integers(ACTIONS, size=copies)


def record_vectors(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return a list of the vectors that are made from now on."""
    vectors: list[Any] = []

    def make(*arguments: Any) -> Any:
        vectors.append(make_vector.make_vector(*arguments))
        return vectors[-1]

    monkeypatch.setattr(native_vector, "make_vector", make)
    return vectors
