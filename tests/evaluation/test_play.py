from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import PLAIN
from gymnasium import spaces
from numpy.typing import NDArray

import dqn_cli.envs  # noqa: F401  (registers LineWorld-v0)
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import EnvConfig, Vectorization, make_env
from dqn_cli.envs.episode_seeds import SeedFunction, episode_seeds
from dqn_cli.envs.line_world import LineWorld
from dqn_cli.envs.masks import MaskSource
from dqn_cli.envs.space_adapter import adapt_spaces
from dqn_cli.evaluation import play as play_module
from dqn_cli.evaluation.play import (
    BatchPolicy,
    Episodes,
    check_evaluation_env,
    play_episodes,
)
from dqn_cli.training.settings import Settings

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


class Told(gymnasium.Env[Any, Any]):
    """Episodes of different lengths, whose `info` has the steps and, at the end, the length."""

    observation_space, action_space = spaces.Box(0, 9, (1,), np.float32), spaces.Discrete(2)

    def __init__(self, fails: bool = False, size: int = 1) -> None:
        if fails:
            raise RuntimeError("no licence")
        self.observation_space = spaces.Box(0, 9, (size,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps, self.length = 0, int(self.np_random.integers(1, 6))
        return np.zeros(1, np.float32), {"steps": 99}

    def step(self, action: Any) -> Any:
        self.steps += 1
        ended = self.steps == self.length
        info = {"steps": self.steps} | ({"length": self.length} if ended else {})
        return np.zeros(1, np.float32), 1.0, ended, False, info


@pytest.fixture
def told(settings_of: Callable[..., Settings]) -> Iterator[EnvConfig]:
    gymnasium.register("Told-v0", Told)
    yield settings_of("env=Told-v0").env
    del gymnasium.registry["Told-v0"]


def idle(obs: Array, mask: Array, episode_start: Array) -> Array:
    return np.zeros(len(obs), np.int64)


@pytest.mark.parametrize("width", [1, 3, 20])
def test_scalars_in_info_are_those_of_the_episodes(
    monkeypatch: pytest.MonkeyPatch, told: EnvConfig, width: int
) -> None:
    monkeypatch.setattr(play_module, "MAX_PARALLEL_ENVS", width)
    names = ["steps", "length", "nothing"]
    results = play_episodes(idle, told, SEED_FUNCTION, 7, 100, "float32", info_names=names)
    assert results is not None
    lengths = results.lengths
    assert len(set(lengths.tolist())) > 1
    all_steps = np.concatenate([np.arange(1, length + 1) for length in lengths])
    assert results.info == {
        "steps": {
            "mean": pytest.approx(all_steps.mean()),
            "at_end": pytest.approx(lengths.mean()),
        },
        "length": {"mean": pytest.approx(lengths.mean()), "at_end": pytest.approx(lengths.mean())},
        "nothing": {"mean": None, "at_end": None},
    }


class Licensed(Told):
    """Only one can exist at a time."""

    exists = False

    def __init__(self) -> None:
        if Licensed.exists:
            raise OSError("the licence is in use")
        Licensed.exists = True
        super().__init__()

    def close(self) -> None:
        Licensed.exists = False


def test_an_environment_of_which_one_can_exist_plays_the_same_episodes_alone(
    told: EnvConfig,
) -> None:
    expected = play_episodes(idle, told, SEED_FUNCTION, 7, 100, "float32")
    gymnasium.register("Licensed-v0", Licensed)
    alone = play_episodes(idle, replace(told, id="Licensed-v0"), SEED_FUNCTION, 7, 100, "float32")
    del gymnasium.registry["Licensed-v0"]
    assert expected is not None
    assert alone is not None
    assert alone.lengths.tolist() == expected.lengths.tolist()
    assert not Licensed.exists


def test_an_environment_of_evaluations_must_fit(told: EnvConfig) -> None:
    trained = make_env(told)[1]
    check_evaluation_env(told, trained)
    with pytest.raises(EnvironmentFailure, match=r"^env=Told-v0: .*no licence"):
        check_evaluation_env(replace(told, kwargs={"fails": True}), trained)
    with pytest.raises(EnvironmentFailure, match=r"^env=Told-v0 has .* with eval.env.kwargs "):
        check_evaluation_env(replace(told, kwargs={"size": 2}), trained)


class Counted(LineWorld):
    """Counts how many are alive in one process."""

    alive = most = 0

    def __init__(self) -> None:
        super().__init__()
        Counted.alive += 1
        Counted.most = max(Counted.most, Counted.alive)

    def close(self) -> None:
        Counted.alive -= 1


@pytest.mark.parametrize(("vectorization", "most"), [("async", 1), ("sync", 4)])
def test_copies_with_processes_of_their_own_share_none_when_they_are_evaluated(
    vectorization: str, most: int
) -> None:
    gymnasium.register("Counted-v0", Counted, max_episode_steps=3)
    Counted.alive = Counted.most = 0
    config = EnvConfig("Counted-v0", {}, 2, Vectorization[vectorization], PLAIN, MaskSource.auto)
    try:
        play_episodes(wander, config, SEED_FUNCTION, 4, 3, "float32")
    finally:
        del gymnasium.registry["Counted-v0"]
    assert (Counted.most, Counted.alive) == (most, 0)
