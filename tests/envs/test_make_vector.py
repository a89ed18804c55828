from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import recorded_vector
from gymnasium.vector import AutoresetMode, VectorEnv
from native_envs import config, started
from recorded_vector import RecordedVector

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.make_vector import autoreset_mode, honours_limit, make_vector


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("refuses", ["4 copies can't be made", "MemoryError: 4 are too many"]),
        ("one_too_few", ["made 3 copies instead of 4"]),
        ("single", ["no gymnasium.vector.VectorEnv"]),
        ("silent", ["autoreset_mode", "None", "AutoresetMode"]),
    ],
)
def test_a_vector_that_cannot_be_used_is_named(name: str, words: list[str]) -> None:
    with pytest.raises(EnvironmentFailure) as caught:
        started(config(name))
    line = str(caught.value)
    assert line.startswith(f"env=recorded_vector:{name}")
    assert all(word in line for word in words)
    assert "\n" not in line


@pytest.mark.parametrize("value", [None, 3])
def test_other_values_than_vectors_are_named(monkeypatch: pytest.MonkeyPatch, value: Any) -> None:
    monkeypatch.setattr(recorded_vector, "make", lambda num_envs: value)
    with pytest.raises(EnvironmentFailure, match=f"returned {value}, which is no gymnasium"):
        make_vector(config(), 4)


@pytest.mark.parametrize("name", ["num_envs", "single_observation_space", "single_action_space"])
def test_a_vector_without_spaces_or_size_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    vector = RecordedVector(4)
    delattr(vector, name)
    monkeypatch.setattr(recorded_vector, "make", lambda num_envs: vector)
    with pytest.raises(EnvironmentFailure, match=f"has no {name}, which a VectorEnv must have"):
        make_vector(config(), 4)


def test_a_vector_of_another_size_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    vector = RecordedVector(3)
    monkeypatch.setattr(recorded_vector, "make", lambda num_envs: vector)
    with pytest.raises(EnvironmentFailure, match="made 3 copies instead of 4"):
        make_vector(config(), 4)
    assert vector.closed


def test_a_function_or_class_gets_the_arguments() -> None:
    vector = make_vector(config(lengths=(7,)), 3)
    assert isinstance(vector, RecordedVector)
    assert (vector.num_envs, vector.lengths) == (3, (7,))
    assert isinstance(make_vector(config("RecordedVector", mode="DISABLED"), 2), RecordedVector)


def test_an_id_gives_its_own_vector_with_the_limit() -> None:
    vector = make_vector(replace(config("CartPole-v1"), max_episode_steps=3), 5)
    vector.reset(seed=0)
    truncated = [vector.step(np.zeros(5, int))[3].tolist() for _ in range(3)]
    vector.close()
    assert truncated == [[False] * 5] * 2 + [[True] * 5]


@pytest.mark.parametrize(
    ("name", "takes"), [("CartPole-v1", True), ("limited", True), ("make", False)]
)
def test_functions_take_a_limit_if_they_have_such_an_argument(name: str, takes: bool) -> None:
    assert honours_limit(config(name)) == takes
    if name == "limited":
        vector = make_vector(replace(config(name), max_episode_steps=6), 2)
        assert isinstance(vector, RecordedVector)
        assert vector.lengths == (6,)


def test_the_mode_of_resets_may_be_its_value() -> None:
    vector: VectorEnv[Any, Any, Any] = RecordedVector(2)
    vector.metadata = {"autoreset_mode": AutoresetMode.DISABLED.value}
    assert autoreset_mode(vector, "mine:make") is AutoresetMode.DISABLED
