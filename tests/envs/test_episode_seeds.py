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
from dqn_cli.envs.masks import MaskSource


class SeedRecorder(gymnasium.Env[Any, Any]):
    """Records its seeds and actions."""

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(0, 9, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)
        self.calls: list[Any] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        self.calls.append(f"seed {seed}")
        return np.zeros(1, np.float32), {"secret": 1, "action_mask": [1, 0]}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.calls.append(int(action))
        return np.zeros(1, np.float32), 0.0, False, False, {"secret": 2}


def test_the_seed_of_an_episode_depends_on_nothing_before_it() -> None:
    seed_function, same_function = (episode_seeds(3, "environment", 1) for _ in range(2))
    in_order = [seed_function(episode) for episode in range(50)]
    assert same_function(49) == in_order[49]
    assert [same_function(episode) for episode in reversed(range(50))] == in_order[::-1]


def test_no_two_runs_purposes_environments_or_episodes_share_a_seed() -> None:
    purposes = ("environment", "evaluation", "final_evaluation")
    seeds = [
        episode_seeds(seed, purpose, env)(episode)
        for seed, purpose, env, episode in itertools.product(range(5), purposes, range(5), range(9))
    ]
    assert len(set(seeds)) == len(seeds) == 675


def test_gymnasium_takes_every_seed() -> None:
    assert all(0 <= episode_seeds(2**40, "environment", 0)(n) < 2**32 for n in range(100))


@pytest.mark.parametrize("copies", [1, 2, 4])
def test_an_environments_start_does_not_depend_on_the_number_of_environments(copies: int) -> None:
    config = EnvConfig("CartPole-v1", {}, copies, Vectorization["sync"], PLAIN, MaskSource.auto)
    seed_functions = [[episode_seeds(5, "environment", env) for env in range(copies)]]
    envs = Environments(config, seed_functions, "float32")
    alone = gymnasium.make("CartPole-v1")
    for env in range(copies):
        expected, _ = alone.reset(seed=episode_seeds(5, "environment", env)(0))
        np.testing.assert_array_equal(envs.obs[0, env], expected)


def test_each_reset_takes_the_next_seed_and_ignores_its_argument() -> None:
    recorder = SeedRecorder()
    env = SeededEpisodes(recorder, lambda number: 100 + number)
    env.reset()
    env.reset(seed=5)
    env.reset()
    assert recorder.calls == ["seed 100", "seed 101", "seed 102"]


def test_the_actions_of_a_snapshot_are_replayed_once() -> None:
    recorder = SeedRecorder()
    env = SeededEpisodes(recorder, lambda number: 100 + number, EnvSnapshot(4, (1, 0)))
    env.reset()
    env.reset()
    assert recorder.calls == ["seed 104", 1, 0, "seed 105"]


def test_only_the_mask_of_an_info_is_passed_on() -> None:
    env = SeededEpisodes(SeedRecorder(), lambda number: number)
    assert env.reset()[1] == {"action_mask": [1, 0]}
    assert env.step(0)[4] == {}
