from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import PLAIN
from gymnasium import spaces

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import EnvConfig, Vectorization, make_env, observation_dtype
from dqn_cli.envs.masks import MaskSource


def failing() -> gymnasium.Env[Any, Any]:
    raise RuntimeError("no licence\n  for this simulator")


def failing_without_message() -> gymnasium.Env[Any, Any]:
    raise LookupError


@pytest.fixture(autouse=True)
def _registered() -> Iterator[None]:
    gymnasium.register(id="Failing-v0", entry_point=failing)
    gymnasium.register(id="Silent-v0", entry_point=failing_without_message)
    yield
    del gymnasium.registry["Failing-v0"], gymnasium.registry["Silent-v0"]


def config(env_id: str, **kwargs: Any) -> EnvConfig:
    return EnvConfig(env_id, kwargs, 1, Vectorization["sync"], PLAIN, MaskSource.auto)


def test_an_environment_has_the_spaces_that_are_returned() -> None:
    env, spaces_of_env = make_env(config("CartPole-v1"))
    assert spaces_of_env.observation_shape == (4,)
    assert spaces_of_env.actions == 2
    assert env.spec is not None
    assert env.spec.max_episode_steps == 500


def test_arguments_reach_the_environment() -> None:
    _, small = make_env(config("FrozenLake-v1"))
    _, large = make_env(config("FrozenLake-v1", map_name="8x8"))
    assert (small.observation_size, large.observation_size) == (16, 64)


def test_arguments_of_the_caller_override_the_configuration() -> None:
    env, _ = make_env(config("CartPole-v1", max_episode_steps=7), max_episode_steps=9)
    assert env.spec is not None
    assert env.spec.max_episode_steps == 9


@pytest.mark.parametrize(
    ("env_id", "reason"),
    [
        ("Failing-v0", "no licence for this simulator"),
        ("Silent-v0", "LookupError"),
        ("Nowhere-v0", "Nowhere"),
        ("Pendulum-v1", "Discrete or MultiDiscrete"),
    ],
)
def test_the_reason_of_a_failure_is_one_line(env_id: str, reason: str) -> None:
    with pytest.raises(EnvironmentFailure) as caught:
        make_env(config(env_id))
    line = str(caught.value)
    assert line.startswith(f"env={env_id}: ")
    assert reason in line
    assert "\n" not in line


def test_an_unknown_argument_is_named() -> None:
    with pytest.raises(EnvironmentFailure, match="gravitation"):
        make_env(config("CartPole-v1", gravitation=3))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bytes_stay_bytes_and_all_other_types_become_the_chosen_one(dtype: str) -> None:
    assert observation_dtype(spaces.Box(0, 255, (2,), np.uint8), dtype) == np.uint8
    assert observation_dtype(spaces.Box(0, 1, (2,), np.float16), dtype) == np.dtype(dtype)
    assert observation_dtype(spaces.MultiBinary(2), dtype) == np.dtype(dtype)
