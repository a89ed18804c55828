from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import PLAIN
from numpy.typing import NDArray

import dqn_cli.envs  # noqa: F401  (registers LineWorld-v0)
from dqn_cli.envs.env_config import EnvConfig, Vectorization
from dqn_cli.envs.episode_seeds import SeedOf, episode_seeds
from dqn_cli.envs.space_adapter import adapt
from dqn_cli.evaluation import play as play_module
from dqn_cli.evaluation.play import Episodes, Policy, play

Array = NDArray[Any]

SEED_OF = episode_seeds(11, "evaluation", 0)


def leaning(obs: Array, mask: Array, fresh: Array) -> Array:
    return (obs[:, 2] > 0).astype(np.int64)


def wandering(obs: Array, mask: Array, fresh: Array) -> Array:
    return (obs.argmax(-1) * 7 // 3) % mask.shape[-1]


POLICIES: dict[str, Policy] = {"CartPole-v1": leaning, "FrozenLake-v1": wandering}


def played(
    env_id: str, episodes: int, longest: int = 10_000, seed_of: SeedOf = SEED_OF
) -> Episodes:
    config = EnvConfig(env_id, {}, 1, Vectorization["sync"], PLAIN)
    found = play(POLICIES[env_id], config, seed_of, episodes, longest, "float32")
    assert found is not None
    return found


def one_by_one(env_id: str, episodes: int, longest: int = 10_000) -> tuple[list[float], list[int]]:
    env, spaces = adapt(gymnasium.make(env_id))
    mask = np.ones((1, spaces.actions), bool)
    returns, lengths = [], []
    for episode in range(episodes):
        obs, _ = env.reset(seed=SEED_OF(episode))
        total, length, ended = 0.0, 0, False
        while not ended and length < longest:
            begins = np.array([length == 0])
            action = POLICIES[env_id](np.asarray(obs, np.float32)[None], mask, begins)[0]
            obs, reward, terminated, truncated, _ = env.step(action)
            total, length, ended = total + float(reward), length + 1, terminated or truncated
        returns.append(total)
        lengths.append(length)
    return returns, lengths


@pytest.mark.parametrize("env_id", POLICIES)
@pytest.mark.parametrize("longest", [10_000, 40])
def test_episodes_are_those_of_a_plain_loop(env_id: str, longest: int) -> None:
    returns, lengths = one_by_one(env_id, 25, longest)
    found = played(env_id, 25, longest)
    assert found.returns.tolist() == returns
    assert found.lengths.tolist() == lengths
    assert len(set(lengths)) > 1


@pytest.mark.parametrize("width", [1, 3, 7, 50])
@pytest.mark.parametrize("env_id", POLICIES)
def test_how_many_run_side_by_side_makes_no_difference(
    monkeypatch: pytest.MonkeyPatch, width: int, env_id: str
) -> None:
    expected = played(env_id, 23)
    monkeypatch.setattr(play_module, "SIDE_BY_SIDE", width)
    found = played(env_id, 23)
    np.testing.assert_array_equal(found.returns, expected.returns)
    np.testing.assert_array_equal(found.lengths, expected.lengths)


def test_more_episodes_begin_with_the_same_ones() -> None:
    few, many = played("CartPole-v1", 5), played("CartPole-v1", 30)
    assert few.returns.tolist() == many.returns[:5].tolist()


def test_other_seeds_are_other_episodes() -> None:
    other = played("CartPole-v1", 10, seed_of=episode_seeds(12, "evaluation", 0))
    assert other.returns.tolist() != played("CartPole-v1", 10).returns.tolist()


def test_an_episode_ends_at_max_episode_steps() -> None:
    found = played("CartPole-v1", 8, longest=5)
    assert found.lengths.tolist() == [5] * 8
    assert found.returns.tolist() == [5] * 8


def test_returns_are_not_discounted() -> None:
    config = EnvConfig("LineWorld-v0", {}, 1, Vectorization["sync"], PLAIN)

    def right(obs: Array, mask: Array, fresh: Array) -> Array:
        return np.ones(len(obs), np.int64)

    found = play(right, config, SEED_OF, 3, 100, "float64")
    assert found is not None
    assert found.returns.tolist() == pytest.approx([1.10] * 3)
    assert found.lengths.tolist() == [11] * 3


@pytest.mark.parametrize("asked", [1, 10])
def test_a_stopped_evaluation_has_no_result(asked: int) -> None:
    answers = iter([False] * (asked - 1) + [True])
    config = EnvConfig("CartPole-v1", {}, 1, Vectorization["sync"], PLAIN)
    found = play(leaning, config, SEED_OF, 4, 100, "float32", lambda: next(answers))
    assert found is None
    assert list(answers) == []


class Counting:
    """Pushes a cart to and fro by how many steps ago each row's episode began."""

    def __init__(self) -> None:
        self.steps = np.zeros(0, np.int64)
        self.begun = 0

    def __call__(self, obs: Array, mask: Array, fresh: Array) -> Array:
        self.steps = np.zeros(len(obs), np.int64) if len(self.steps) != len(obs) else self.steps
        self.steps = np.where(fresh, 0, self.steps + 1)
        self.begun += fresh.sum()
        assert fresh.dtype == bool
        return self.steps**2 // 7 % 2


@pytest.mark.parametrize("longest", [10_000, 30])
@pytest.mark.parametrize("width", [1, 4, 20])
def test_a_policy_with_a_memory_is_told_where_episodes_begin(
    monkeypatch: pytest.MonkeyPatch, width: int, longest: int
) -> None:
    monkeypatch.setattr(play_module, "SIDE_BY_SIDE", width)
    monkeypatch.setitem(POLICIES, "CartPole-v1", Counting())
    returns, lengths = one_by_one("CartPole-v1", 9, longest)
    counting = Counting()
    monkeypatch.setitem(POLICIES, "CartPole-v1", counting)
    found = played("CartPole-v1", 9, longest)
    assert found.returns.tolist() == returns
    assert found.lengths.tolist() == lengths
    assert len(set(lengths)) > 1
    assert counting.begun >= 9
