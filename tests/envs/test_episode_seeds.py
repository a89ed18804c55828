from __future__ import annotations

import itertools
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import PLAIN

from dqn_cli.envs.env_config import EnvConfig, Vectorization
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.episode_seeds import EnvSnapshot, SeededEpisodes, episode_seeds


class Recorder(gymnasium.Env[Any, Any]):
    """Remembers what it was asked to do; ends after two steps."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 9, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.asked: list[Any] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self.asked.append(f"seed {seed}")
        return np.zeros(1, np.float32), {"secret": 1, "action_mask": [1, 0]}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.asked.append(int(action))
        return np.zeros(1, np.float32), 0.0, False, False, {"secret": 2}


def test_the_seed_of_an_episode_depends_on_nothing_before_it() -> None:
    seed_of, other = (episode_seeds(3, "environment", 1) for _ in range(2))
    in_order = [seed_of(episode) for episode in range(50)]
    assert other(49) == in_order[49]
    assert [other(episode) for episode in reversed(range(50))] == in_order[::-1]


def test_runs_purposes_environments_and_episodes_all_have_seeds_of_their_own() -> None:
    purposes = ("environment", "evaluation", "judgement")
    seeds = [
        episode_seeds(seed, purpose, env)(episode)
        for seed, purpose, env, episode in itertools.product(range(5), purposes, range(5), range(9))
    ]
    assert len(set(seeds)) == len(seeds) == 675


def test_a_seed_is_one_that_gymnasium_takes() -> None:
    assert all(0 <= episode_seeds(2**40, "environment", 0)(n) < 2**32 for n in range(100))


@pytest.mark.parametrize("copies", [1, 2, 4])
def test_an_environment_starts_alike_among_any_number_of_others(copies: int) -> None:
    config = EnvConfig("CartPole-v1", {}, copies, Vectorization["sync"], PLAIN)
    seed_ofs = [[episode_seeds(5, "environment", env) for env in range(copies)]]
    envs = Environments(config, seed_ofs, "float32")
    alone = gymnasium.make("CartPole-v1")
    for env in range(copies):
        expected, _ = alone.reset(seed=episode_seeds(5, "environment", env)(0))
        np.testing.assert_array_equal(envs.obs[0, env], expected)


def test_each_reset_takes_the_next_episodes_seed_whatever_it_is_given() -> None:
    recorder = Recorder()
    env = SeededEpisodes(recorder, lambda episode: 100 + episode)
    env.reset()
    env.reset(seed=5)
    env.reset()
    assert recorder.asked == ["seed 100", "seed 101", "seed 102"]


def test_a_place_is_reached_by_its_actions_once() -> None:
    recorder = Recorder()
    env = SeededEpisodes(recorder, lambda episode: 100 + episode, EnvSnapshot(4, (1, 0)))
    env.reset()
    env.reset()
    assert recorder.asked == ["seed 104", 1, 0, "seed 105"]


def test_of_an_info_only_the_mask_is_passed_on() -> None:
    env = SeededEpisodes(Recorder(), lambda episode: episode)
    assert env.reset()[1] == {"action_mask": [1, 0]}
    assert env.step(0)[4] == {}
