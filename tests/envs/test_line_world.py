from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

import dqn_cli.envs  # noqa: F401  (registers LineWorld-v0)
from dqn_cli.envs.line_world import LineWorld

LEFT, RIGHT = np.int64(0), np.int64(1)


def walk(*actions: np.int64) -> tuple[list[float], list[float], list[bool]]:
    env = LineWorld()
    env.reset()
    steps = [env.step(action) for action in actions]
    assert not any(truncated for *_, truncated, _ in steps)
    return [float(s[0][0]) for s in steps], [s[1] for s in steps], [s[2] for s in steps]


def test_actions_move_a_tenth_left_or_right() -> None:
    positions, rewards, ends = walk(RIGHT, RIGHT, LEFT, LEFT, LEFT)
    assert positions == pytest.approx([0.1, 0.2, 0.1, 0, -0.1])
    assert rewards == [0.01] * 5
    assert not any(ends)


@pytest.mark.parametrize(("action", "side"), [(RIGHT, 1), (LEFT, -1)])
def test_the_walk_ends_beyond_one_and_not_at_one(action: np.int64, side: int) -> None:
    positions, rewards, ends = walk(*[action] * 11)
    assert positions[-2:] == pytest.approx([side * 1.0, side * 1.1])
    assert ends == [False] * 10 + [True]
    assert rewards == [0.01] * 10 + [side]


def test_straight_to_the_right_returns_1_10() -> None:
    assert sum(walk(*[RIGHT] * 11)[1]) == pytest.approx(1.10)


def test_it_starts_at_zero_again() -> None:
    env = LineWorld()
    env.reset()
    env.step(RIGHT)
    obs, info = env.reset()
    assert obs.tolist() == [0, 0, 0, 0]
    assert info == {}


def test_only_the_first_element_of_an_observation_moves() -> None:
    env = LineWorld()
    first, _ = env.reset()
    second, *_ = env.step(RIGHT)
    assert first.dtype == second.dtype == np.float32
    assert first[0] == 0
    assert second[1:].tolist() == [0, 0, 0]


def test_an_episode_is_truncated_after_50_steps() -> None:
    env = gymnasium.make("LineWorld-v0")
    env.reset()
    steps = [env.step([RIGHT, LEFT][step % 2]) for step in range(50)]
    assert [truncated for *_, truncated, _ in steps] == [False] * 49 + [True]
    assert not any(terminated for _, _, terminated, _, _ in steps)


def test_gymnasiums_own_checks_pass() -> None:
    check_env(LineWorld(), skip_render_check=True)


def test_every_observation_lies_in_the_space() -> None:
    env = LineWorld()
    for action in (LEFT, RIGHT):
        obs, _ = env.reset()
        for _ in range(11):
            assert obs in env.observation_space
            obs, *_ = env.step(action)
        assert obs in env.observation_space
