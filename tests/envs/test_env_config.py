from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import PLAIN
from gymnasium import spaces

from dqn_cli.agent.spaces import BINARY, VECTOR, Part, Spaces
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import (
    EnvConfig,
    Vectorization,
    make_env,
    make_own_env,
    observation_dtype,
)
from dqn_cli.envs.masks import MaskSource
from dqn_cli.envs.preprocessing import Images


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


def test_an_environment_can_be_made_with_its_own_spaces() -> None:
    env = make_own_env(config("Blackjack-v1"))
    assert isinstance(env.observation_space, spaces.Tuple)
    with pytest.raises(EnvironmentFailure, match="unexpected keyword argument"):
        make_own_env(config("CartPole-v1", gravitation=3))


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
        ("Pendulum-v1", "actions that can be counted"),
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


TIME_AWARE = "gymnasium.wrappers:TimeAwareObservation"


def test_wrappers_change_the_spaces() -> None:
    env, spaces_of_env = make_env(replace(config("CartPole-v1"), wrappers=[TIME_AWARE]))
    assert spaces_of_env.observation_shape == (5,)
    assert env.reset(seed=0)[0].shape == (5,)


class Short(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Returns less than it declares."""

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        obs, *rest = self.env.step(action)
        return obs[:2], *rest  # type: ignore[return-value]


def test_a_wrappers_mistakes_are_named() -> None:
    env, _ = make_env(replace(config("CartPole-v1"), wrappers=[f"{__name__}:Short"]))
    env.reset(seed=3)
    with pytest.raises(EnvironmentFailure) as caught:
        env.step(0)
    assert str(caught.value) == (
        "env=CartPole-v1 with env.wrappers: the observation has shape [2]; declared is [4]"
        " (in step 1 of the episode with seed 3)"
    )


class Broken(gymnasium.Env[Any, Any]):
    observation_space, action_space = spaces.Box(0, 1, (2,)), spaces.Discrete(2)

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        raise RuntimeError("no licence")


def test_the_environments_own_mistakes_are_named_once() -> None:
    gymnasium.register(id="Broken-v0", entry_point=Broken)
    wrappers = ["gymnasium.wrappers:RecordEpisodeStatistics"]
    env, _ = make_env(replace(config("Broken-v0"), wrappers=wrappers))
    with pytest.raises(EnvironmentFailure, match="no licence") as caught:
        env.reset(seed=3)
    assert str(caught.value).startswith("env=Broken-v0: reset raised RuntimeError: no licence")
    del gymnasium.registry["Broken-v0"]


@pytest.mark.parametrize("entry", ["nowhere:Mine", {TIME_AWARE: {"way": 1}}, "math:pi"])
def test_an_entry_that_cannot_wrap_is_named_in_one_line(entry: Any) -> None:
    with pytest.raises(EnvironmentFailure, match=r"^env=CartPole-v1: env\.wrappers: ") as caught:
        make_env(replace(config("CartPole-v1"), wrappers=[entry]))
    name = entry if isinstance(entry, str) else TIME_AWARE
    assert name in str(caught.value)


@pytest.mark.parametrize("entry", ["Mine", 3, {"a:B": 3}])
def test_entries_of_another_shape_are_refused_at_once(entry: Any) -> None:
    with pytest.raises(ValueError, match=r"^env\.wrappers: .*module:Class"):
        replace(config("CartPole-v1"), wrappers=[entry])


def length_of(env_config: EnvConfig) -> tuple[int, bool]:
    """Length of an episode of one action, and whether it was truncated."""
    env, _ = make_env(env_config)
    env.reset(seed=0)
    for length in range(1, 400):
        _, _, terminated, truncated, _ = env.step(0)
        if terminated or truncated:
            return length, truncated
    raise AssertionError


@pytest.mark.parametrize("limit", [3, 300])
def test_a_limit_of_steps_replaces_the_registered_one(limit: int) -> None:
    mountain_car = config("MountainCar-v0")  # at most 200 steps
    assert length_of(mountain_car) == (200, True)
    assert length_of(replace(mountain_car, max_episode_steps=limit)) == (limit, True)


class Endless(gymnasium.Env[Any, Any]):
    """Pictures that stay black."""

    observation_space, action_space = spaces.Box(0, 255, (9, 9, 3), np.uint8), spaces.Discrete(2)

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        return np.zeros((9, 9, 3), np.uint8), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros((9, 9, 3), np.uint8), 0.0, False, False, {}


def test_a_limit_counts_the_steps_of_a_run_where_frames_are_skipped() -> None:
    gymnasium.register(id="Endless-v0", entry_point=Endless, max_episode_steps=8)
    images = Images(stack=1, clip_rewards=False, frame_skip=4, size=9, grayscale=True)
    skipping = replace(config("Endless-v0"), preprocess=images)
    assert length_of(skipping) == (2, True)
    assert length_of(replace(skipping, max_episode_steps=5)) == (5, True)
    del gymnasium.registry["Endless-v0"]


def test_a_limit_is_known_to_wrappers() -> None:
    normalized = {TIME_AWARE: {"normalize_time": True}}
    limited = replace(config("CartPole-v1"), wrappers=[normalized], max_episode_steps=4)
    env, _ = make_env(limited)
    env.reset(seed=0)
    assert env.step(0)[0][-1] == 0.25


@pytest.mark.parametrize(
    ("env_id", "wrappers", "modules"),
    [
        ("CartPole-v1", [TIME_AWARE], {}),
        ("a.b:Mine-v0", [], {"a.b:Mine-v0": "a.b"}),
        ("a:Mine-v0", [{"c:D": None}, TIME_AWARE], {"a:Mine-v0": "a", "c:D": "c"}),
        (
            "A-v0",
            ["gymnasium.wrappers:RecordVideo"],
            {"gymnasium.wrappers:RecordVideo": "gymnasium.wrappers"},
        ),
    ],
)
def test_modules_are_those_of_the_users_own_code(
    env_id: str, wrappers: list[Any], modules: dict[str, str]
) -> None:
    assert replace(config(env_id), wrappers=wrappers).modules == modules


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_bytes_stay_bytes_and_all_other_types_become_the_chosen_one(dtype: str) -> None:
    flags = Part("flags", BINARY, (2,), (0.0,), (1.0,), True)
    numbers = Part("numbers", VECTOR, (2,), (0.0,), (1.0,), False)
    assert observation_dtype(Spaces((flags,), 2), dtype) == np.uint8
    assert observation_dtype(Spaces((flags, flags), 2), dtype) == np.uint8
    assert observation_dtype(Spaces((numbers,), 2), dtype) == np.dtype(dtype)
    assert observation_dtype(Spaces((flags, numbers), 2), dtype) == np.dtype(dtype)
