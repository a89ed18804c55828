from __future__ import annotations

import math

import numpy as np
import pytest

from dqn_cli.agent.clock import Clock, Unit
from dqn_cli.agent.exploration import (
    Constant,
    Exploration,
    Exponential,
    Linear,
    Multiplicative,
    Piecewise,
    best_action,
    explore,
)

HORIZON = Clock(steps=1000, updates=200, episodes=50)
BY_FRACTION = Linear(Unit.steps, 1.0, 0.2, 0.5)  # over 500 of the 1000 steps
BY_UNITS = Linear(Unit.episodes, 0.9, 0.1, 20)
FALLING = Exponential(Unit.updates, 1.0, 0.1, 100.0)
SHRINKING = Multiplicative(Unit.episodes, 0.8, 0.1, 0.5)
POINTS = Piecewise(Unit.steps, [[100, 1.0], [200, 0.5], [600, 0.1]])


@pytest.mark.parametrize(
    ("schedule", "elapsed", "epsilon"),
    [
        (Constant(0.3), Clock(), 0.3),
        (Constant(0.3), Clock(10**9, 10**9, 10**9), 0.3),
        (BY_FRACTION, Clock(0), 1.0),
        (BY_FRACTION, Clock(125), 0.8),  # 1 - 0.8 * 125 / 500
        (BY_FRACTION, Clock(500), 0.2),
        (BY_FRACTION, Clock(10_000), 0.2),
        (Linear(Unit.steps, 1.0, 0.2, 1), Clock(500), 0.6),  # exactly 1 is the whole run
        (BY_UNITS, Clock(episodes=0), 0.9),
        (BY_UNITS, Clock(steps=999, updates=99, episodes=5), 0.7),  # 0.9 - 0.8 * 5 / 20
        (BY_UNITS, Clock(episodes=21), 0.1),
        (Linear(Unit.steps, 0.1, 0.5, 100), Clock(50), 0.3),  # upwards
        (FALLING, Clock(steps=500), 1.0),
        (FALLING, Clock(updates=50), 0.1 + 0.9 * math.exp(-0.5)),
        (FALLING, Clock(updates=100), 0.1 + 0.9 / math.e),
        (FALLING, Clock(updates=100_000), 0.1),
        (SHRINKING, Clock(), 0.8),
        (SHRINKING, Clock(episodes=1), 0.4),
        (SHRINKING, Clock(episodes=2), 0.2),
        (SHRINKING, Clock(episodes=3), 0.1),
        (SHRINKING, Clock(episodes=400), 0.1),
        (POINTS, Clock(0), 1.0),
        (POINTS, Clock(100), 1.0),
        (POINTS, Clock(150), 0.75),
        (POINTS, Clock(200), 0.5),
        (POINTS, Clock(300), 0.4),  # 0.5 - 0.4 * 100 / 400
        (POINTS, Clock(601), 0.1),
        (Piecewise(Unit.updates, [[5, 0.4]]), Clock(updates=9), 0.4),
    ],
)
def test_epsilon_follows_its_schedule(
    schedule: Exploration, elapsed: Clock, epsilon: float
) -> None:
    assert schedule.epsilon(elapsed, HORIZON) == pytest.approx(epsilon, abs=1e-12)


@pytest.mark.parametrize(
    ("points", "message"),
    [
        ([], "pairs"),
        ([[1]], "pairs"),
        ([[1, 0.5, 2]], "pairs"),
        ([[0, 1.5]], "at least 0 and at most 1"),
        ([[0, -0.1]], "at least 0 and at most 1"),
        ([[5, 0.5], [1, 0.1]], "in order of time"),
        ([[5, 0.5], [5, 0.1]], "in order of time"),
    ],
)
def test_points_that_make_no_schedule_are_refused(points: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Piecewise(Unit.steps, points)


@pytest.mark.parametrize("legal", [[0, 1, 2, 3, 4], [1, 3, 4], [0, 4], [2]])
def test_explore_cuts_the_unit_interval_into_equal_parts_for_the_legal_actions(
    legal: list[int],
) -> None:
    mask = np.isin(np.arange(5), legal)
    uniform = (np.arange(60) + 0.5) / 60
    picked = explore(np.broadcast_to(mask, (60, 5)), uniform)
    each = 60 // len(legal)
    assert picked.tolist() == [action for action in legal for _ in range(each)]


@pytest.mark.parametrize("actions", [1, 2, 3, 7, 10, 4096])
def test_explore_stays_legal_at_the_ends_of_the_unit_interval(actions: int) -> None:
    ends = np.array([0.0, np.nextafter(1.0, 0.0)])
    picked = explore(np.ones((2, actions), bool), ends)
    assert picked.tolist() == [0, actions - 1]


def test_explore_picks_all_legal_actions_equally_often_and_no_other() -> None:
    random = np.random.default_rng(0)
    mask = np.array(
        [[True, False, True, True, False, True], [False, True, True, False, True, True]]
    )
    draws = np.stack([explore(mask, random.random(2)) for _ in range(8000)])
    for env in range(2):
        counts = np.bincount(draws[:, env], minlength=6)
        assert counts[~mask[env]].sum() == 0
        chi_square = ((counts[mask[env]] - 2000) ** 2 / 2000).sum()
        assert chi_square < 16.3  # 3 degrees of freedom, 0.1 %


def test_explore_keeps_leading_axes() -> None:
    mask = np.ones((2, 3, 4), bool)
    uniform = np.arange(6).reshape(2, 3) / 8
    # floor(4 * [0, 1, 2, 3, 4, 5] / 8)
    assert explore(mask, uniform).tolist() == [[0, 0, 1], [1, 2, 2]]


def test_best_action_is_the_best_legal_one_of_each_row() -> None:
    q = np.array([[[1.0, 5.0, 3.0], [1.0, 5.0, 3.0]], [[-7.0, -5.0, -9.0], [0.0, 0.0, 0.0]]])
    mask = np.array([[[1, 1, 1], [1, 0, 1]], [[1, 0, 1], [0, 1, 1]]], bool)
    assert best_action(q, mask).tolist() == [[1, 2], [0, 1]]
