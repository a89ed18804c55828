from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import PLAIN
from gymnasium import spaces

from dqn_cli.envs.env_config import (
    EnvConfig,
    EnvironmentFailure,
    Vectorization,
    make,
    storage_dtype,
)


def refusing() -> gymnasium.Env[Any, Any]:
    raise RuntimeError("no licence\n  for this simulator")


def silent() -> gymnasium.Env[Any, Any]:
    raise LookupError


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    gymnasium.register(id="Refusing-v0", entry_point=refusing)
    gymnasium.register(id="Silent-v0", entry_point=silent)
    yield
    del gymnasium.registry["Refusing-v0"], gymnasium.registry["Silent-v0"]


def config(env_id: str, **kwargs: Any) -> EnvConfig:
    return EnvConfig(env_id, kwargs, 1, Vectorization["sync"], PLAIN)


def test_what_is_made_has_the_spaces_that_are_described() -> None:
    env, described = make(config("CartPole-v1"))
    assert described.observation_shape == (4,)
    assert described.actions == 2
    assert env.spec is not None
    assert env.spec.max_episode_steps == 500


def test_arguments_reach_the_environment() -> None:
    _, small = make(config("FrozenLake-v1"))
    _, large = make(config("FrozenLake-v1", map_name="8x8"))
    assert (small.observation_size, large.observation_size) == (16, 64)


def test_arguments_of_the_caller_win() -> None:
    env, _ = make(config("CartPole-v1", max_episode_steps=7), max_episode_steps=9)
    assert env.spec is not None
    assert env.spec.max_episode_steps == 9


@pytest.mark.parametrize(
    ("env_id", "reason"),
    [
        ("Refusing-v0", "no licence for this simulator"),
        ("Silent-v0", "LookupError"),
        ("Nowhere-v0", "Nowhere"),
        ("Pendulum-v1", "Discrete or MultiDiscrete"),
    ],
)
def test_why_none_can_be_made_is_said_in_one_line(env_id: str, reason: str) -> None:
    with pytest.raises(EnvironmentFailure) as caught:
        make(config(env_id))
    line = str(caught.value)
    assert line.startswith(f"env={env_id}: ")
    assert reason in line
    assert "\n" not in line


def test_an_argument_that_the_environment_does_not_take_is_named() -> None:
    with pytest.raises(EnvironmentFailure, match="gravitation"):
        make(config("CartPole-v1", gravitation=3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bytes_are_stored_as_bytes_and_all_else_in_the_chosen_precision(dtype: str) -> None:
    assert storage_dtype(spaces.Box(0, 255, (2,), np.uint8), dtype) == np.uint8
    assert storage_dtype(spaces.Box(0, 1, (2,), np.float16), dtype) == np.dtype(dtype)
    assert storage_dtype(spaces.MultiBinary(2), dtype) == np.dtype(dtype)
