from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import EnvConfig
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.envs.info_scalars import InfoReader, scalars_by_name, vector_scalars


def read(info: dict[str, Any], *names: str) -> list[float]:
    values: list[float] = InfoReader("Name-v0", names)(info).tolist()
    return values


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (3, 3.0),
        (2.5, 2.5),
        (True, 1.0),
        (False, 0.0),
        (np.bool_(True), 1.0),
        (np.float32(0.5), 0.5),
        (np.int64(-4), -4.0),
        (np.array(7), 7.0),
        (np.array([[8.0]]), 8.0),
        ([9], 9.0),
        (torch.tensor(1.5), 1.5),
    ],
)
def test_single_numbers_are_read(value: Any, expected: float) -> None:
    assert read({"key": value}, "key") == [expected]


@pytest.mark.parametrize("value", [None, np.nan, np.inf, -np.inf, np.float32("nan")])
def test_no_value_and_values_that_are_not_finite_are_absent(value: Any) -> None:
    assert np.isnan(read({"key": value}, "key")).all()


@pytest.mark.parametrize(
    "value", ["text", "3", [1, 2], np.zeros(2), [], {"a": 1}, [[1], [1, 2]], object(), 1j]
)
def test_other_values_are_an_error_that_names_the_key(value: Any) -> None:
    with pytest.raises(EnvironmentFailure) as caught:
        read({"stats": {"key": value}}, "stats.key")
    line = str(caught.value)
    assert line.startswith("env=Name-v0: stats.key in info is ")
    assert line.endswith("; log.info takes single numbers and bools")
    assert "\n" not in line


def test_a_dot_reaches_into_a_nested_dict() -> None:
    info = {"a": {"b": {"c": 1}, "d": 2}, "a.d": 3, "e": 4}
    assert read(info, "a.b.c", "a.d", "e") == [1, 3, 4]
    assert np.isnan(read(info, "a.x", "x.a", "e.b", "a.b.c.d", "x", "")).all()


def test_scalars_are_split_by_name() -> None:
    columns = scalars_by_name(["a", "b"], np.array([[1, 2], [3, 4], [5, 6]]))
    assert {name: column.tolist() for name, column in columns.items()} == {
        "a": [1, 3, 5],
        "b": [2, 4, 6],
    }
    assert scalars_by_name([], np.zeros((3, 0))) == {}


class Counting(gymnasium.Env[Any, Any]):
    """Its `info` counts steps, and at an episode's end tells the action."""

    observation_space = spaces.Box(0, 9, (1,), np.float32)
    action_space = spaces.Discrete(5)

    def __init__(self, length: int = 3) -> None:
        self.length = length

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.steps = 0
        return np.zeros(1, np.float32), {"steps": -99, "end": {"action": -99}}

    def step(self, action: Any) -> Any:
        self.steps += 1
        ended = self.steps == self.length
        info: dict[str, Any] = {"steps": self.steps}
        if ended:
            info["end"] = {"action": action}
        return np.zeros(1, np.float32), 1.0, ended, False, info


@pytest.fixture(autouse=True)
def _counting() -> Iterator[None]:
    gymnasium.register("Counting-v0", Counting)
    yield
    del gymnasium.registry["Counting-v0"]


@pytest.fixture(params=["sync", "async"])
def config(request: pytest.FixtureRequest, settings_of: Any) -> EnvConfig:
    word = f"env.vectorization={request.param}"
    config: EnvConfig = settings_of("env=Counting-v0", word, "env.num_envs=2").env
    return config


def make(config: EnvConfig, names: list[str], limit: int | None = None) -> Environments:
    seeds = [[episode_seeds(member, "environment", env) for env in range(2)] for member in range(2)]
    return Environments(config, seeds, "float32", max_episode_steps=limit, info_names=names)


def test_steps_have_the_scalars_also_where_an_episode_ends(config: EnvConfig) -> None:
    envs = make(config, ["steps", "end.action", "nothing"])
    actions = np.array([[0, 1], [2, 3]])
    infos = [envs.step(actions).info for _ in range(4)]
    envs.close()
    assert [list(info) for info in infos] == [["steps", "end.action", "nothing"]] * 4
    assert [info["steps"].tolist() for info in infos] == [[[n, n]] * 2 for n in (1, 2, 3, 1)]
    for number, info in enumerate(infos):
        assert np.isnan(info["nothing"]).all()
        expected = actions if number == 2 else np.full((2, 2), np.nan)
        np.testing.assert_array_equal(info["end.action"], expected)


def test_a_step_that_a_time_limit_ends_has_its_own_scalars(config: EnvConfig) -> None:
    envs = make(config, ["steps"], limit=2)
    steps = [envs.step(np.zeros((2, 2), np.int64)).info["steps"][0, 0] for _ in range(5)]
    envs.close()
    assert steps == [1, 2, 1, 2, 1]


def test_without_names_there_are_no_scalars(config: EnvConfig) -> None:
    envs = make(config, [])
    assert envs.step(np.zeros((2, 2), np.int64)).info == {}
    envs.close()


@pytest.mark.filterwarnings("ignore::UserWarning")  # an async worker warns too
def test_a_value_that_is_no_number_fails_the_step(config: EnvConfig) -> None:
    envs = make(config, ["end"])
    for _ in range(2):
        envs.step(np.zeros((2, 2), np.int64))
    with pytest.raises(EnvironmentFailure, match=r"^env=Counting-v0: end in info is \{'action'"):
        envs.step(np.zeros((2, 2), np.int64))
    if config.vectorization.name == "sync":
        envs.close()


def vector_values(info: dict[str, Any], name: str, ended: tuple[bool, ...]) -> list[float]:
    scalars = vector_scalars(InfoReader("Name-v0", [name]), info, np.array(ended))
    return [-1 if np.isnan(value) else value for value in scalars[name].tolist()]


def test_a_copy_has_a_value_if_every_dict_around_it_says_so() -> None:
    statistics = {"episode": {"r": [3, 0, 5]}, "_episode": [True, False, True]}
    assert vector_values(statistics, "episode.r", (True, False, True)) == [3, -1, 5]
    inner = {"a": {"b": [1, 2, np.inf], "_b": [False, True, True]}, "_a": [True, True, True]}
    assert vector_values(inner, "a.b", (False,) * 3) == [-1, 2, -1]
    assert vector_values({"a.b": [1, 2], "_a.b": [True, False]}, "a.b", (False,) * 2) == [1, -1]


def test_at_an_end_the_final_info_comes_first() -> None:
    info = {"x": [0, 1], "y": [2, 3], "final_info": {"x": [8, 0], "_x": [True, False]}}
    assert vector_values(info, "x", (True, False)) == [8, 1]
    assert vector_values(info, "x", (True, True)) == [8, -1]
    # A wrapper around the vector adds its scalars to `info` itself.
    assert vector_values(info, "y", (True, False)) == [2, 3]
