from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import PLAIN
from numpy.typing import NDArray

import dqn_cli.envs  # noqa: F401  (registers LineWorld-v0)
from dqn_cli.envs.env_config import EnvConfig, Vectorization
from dqn_cli.envs.episode_seeds import SeedFunction, episode_seeds
from dqn_cli.envs.masks import MaskSource
from dqn_cli.envs.space_adapter import adapt_spaces
from dqn_cli.evaluation import play as play_module
from dqn_cli.evaluation.play import BatchPolicy, Episodes, play_episodes

Array = NDArray[Any]

SEED_FUNCTION = episode_seeds(11, "evaluation", 0)


def follow_pole(obs: Array, mask: Array, episode_start: Array) -> Array:
    return (obs[:, 2] > 0).astype(np.int64)


def wander(obs: Array, mask: Array, episode_start: Array) -> Array:
    return (obs.argmax(-1) * 7 // 3) % mask.shape[-1]


POLICIES: dict[str, BatchPolicy] = {"CartPole-v1": follow_pole, "FrozenLake-v1": wander}


def play_greedily(
    env_id: str, episodes: int, max_steps: int = 10_000, seed_function: SeedFunction = SEED_FUNCTION
) -> Episodes:
    config = EnvConfig(env_id, {}, 1, Vectorization["sync"], PLAIN, MaskSource.auto)
    results = play_episodes(POLICIES[env_id], config, seed_function, episodes, max_steps, "float32")
    assert results is not None
    return results


def one_by_one(
    env_id: str, episodes: int, max_steps: int = 10_000
) -> tuple[list[float], list[int]]:
    env, spaces = adapt_spaces(gymnasium.make(env_id))
    mask = np.ones((1, spaces.actions), bool)
    returns, lengths = [], []
    for episode in range(episodes):
        obs, _ = env.reset(seed=SEED_FUNCTION(episode))
        total, length, ended = 0.0, 0, False
        while not ended and length < max_steps:
            begins = np.array([length == 0])
            action = POLICIES[env_id](np.asarray(obs, np.float32)[None], mask, begins)[0]
            obs, reward, terminated, truncated, _ = env.step(action)
            total, length, ended = total + float(reward), length + 1, terminated or truncated
        returns.append(total)
        lengths.append(length)
    return returns, lengths


@pytest.mark.parametrize("env_id", POLICIES)
@pytest.mark.parametrize("max_steps", [10_000, 40])
def test_episodes_equal_those_of_a_plain_loop(env_id: str, max_steps: int) -> None:
    returns, lengths = one_by_one(env_id, 25, max_steps)
    results = play_greedily(env_id, 25, max_steps)
    assert results.returns.tolist() == returns
    assert results.lengths.tolist() == lengths
    assert len(set(lengths)) > 1


@pytest.mark.parametrize("width", [1, 3, 7, 50])
@pytest.mark.parametrize("env_id", POLICIES)
def test_the_number_of_parallel_environments_makes_no_difference(
    monkeypatch: pytest.MonkeyPatch, width: int, env_id: str
) -> None:
    expected = play_greedily(env_id, 23)
    monkeypatch.setattr(play_module, "MAX_PARALLEL_ENVS", width)
    results = play_greedily(env_id, 23)
    np.testing.assert_array_equal(results.returns, expected.returns)
    np.testing.assert_array_equal(results.lengths, expected.lengths)


def test_more_episodes_start_with_the_same_ones() -> None:
    few, many = play_greedily("CartPole-v1", 5), play_greedily("CartPole-v1", 30)
    assert few.returns.tolist() == many.returns[:5].tolist()


def test_other_seeds_give_other_episodes() -> None:
    other = play_greedily("CartPole-v1", 10, seed_function=episode_seeds(12, "evaluation", 0))
    assert other.returns.tolist() != play_greedily("CartPole-v1", 10).returns.tolist()


def test_an_episode_ends_at_max_episode_steps() -> None:
    results = play_greedily("CartPole-v1", 8, max_steps=5)
    assert results.lengths.tolist() == [5] * 8
    assert results.returns.tolist() == [5] * 8


def test_returns_are_not_discounted() -> None:
    config = EnvConfig("LineWorld-v0", {}, 1, Vectorization["sync"], PLAIN, MaskSource.auto)

    def right(obs: Array, mask: Array, episode_start: Array) -> Array:
        return np.ones(len(obs), np.int64)

    results = play_episodes(right, config, SEED_FUNCTION, 3, 100, "float64")
    assert results is not None
    assert results.returns.tolist() == pytest.approx([1.10] * 3)
    assert results.lengths.tolist() == [11] * 3


@pytest.mark.parametrize("asked", [1, 10])
def test_a_stopped_evaluation_has_no_result(asked: int) -> None:
    answers = iter([False] * (asked - 1) + [True])
    config = EnvConfig("CartPole-v1", {}, 1, Vectorization["sync"], PLAIN, MaskSource.auto)
    results = play_episodes(
        follow_pole, config, SEED_FUNCTION, 4, 100, "float32", lambda: next(answers)
    )
    assert results is None
    assert list(answers) == []


class StepCounter:
    """A policy whose actions depend on the number of steps in each row's episode."""

    def __init__(self) -> None:
        self.steps = np.zeros(0, np.int64)
        self.starts = 0

    def __call__(self, obs: Array, mask: Array, episode_start: Array) -> Array:
        self.steps = np.zeros(len(obs), np.int64) if len(self.steps) != len(obs) else self.steps
        self.steps = np.where(episode_start, 0, self.steps + 1)
        self.starts += episode_start.sum()
        assert episode_start.dtype == bool
        return self.steps**2 // 7 % 2


@pytest.mark.parametrize("max_steps", [10_000, 30])
@pytest.mark.parametrize("width", [1, 4, 20])
def test_a_policy_with_a_state_gets_the_starts_of_episodes(
    monkeypatch: pytest.MonkeyPatch, width: int, max_steps: int
) -> None:
    monkeypatch.setattr(play_module, "MAX_PARALLEL_ENVS", width)
    monkeypatch.setitem(POLICIES, "CartPole-v1", StepCounter())
    returns, lengths = one_by_one("CartPole-v1", 9, max_steps)
    counter = StepCounter()
    monkeypatch.setitem(POLICIES, "CartPole-v1", counter)
    results = play_greedily("CartPole-v1", 9, max_steps)
    assert results.returns.tolist() == returns
    assert results.lengths.tolist() == lengths
    assert len(set(lengths)) > 1
    assert counter.starts >= 9
