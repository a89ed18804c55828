from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dqn_cli.agent.clock import Clock, Unit
from dqn_cli.agent.exploration import (
    Boltzmann,
    Bootstrapped,
    Constant,
    Exploration,
    Exponential,
    Linear,
    Multiplicative,
    Noisy,
    PerEnvEpsilon,
    Piecewise,
    best_action,
    legal_values,
    random_action,
)

Array = NDArray[Any]

HORIZON = Clock(steps=1000, updates=200, episodes=50)
BY_FRACTION = Linear(Unit.steps, 1.0, 0.2, 0.5)  # over 500 of the 1000 steps
BY_UNITS = Linear(Unit.episodes, 0.9, 0.1, 20)
FALLING = Exponential(Unit.updates, 1.0, 0.1, 100.0)
SHRINKING = Multiplicative(Unit.episodes, 0.8, 0.1, 0.5)
POINTS = Piecewise(Unit.steps, [[100, 1.0], [200, 0.5], [600, 0.1]])
NO_OBS = np.empty(0)


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
        (Noisy(), Clock(), 0.0),
        (Noisy(), Clock(10**9, 10**9, 10**9), 0.0),
        (Boltzmann(0.1), Clock(), 0.0),
    ],
)
def test_epsilon_follows_its_schedule(
    schedule: Exploration, elapsed: Clock, epsilon: float
) -> None:
    for envs in (1, 8):
        assert schedule.epsilon(elapsed, HORIZON, envs) == pytest.approx(epsilon, abs=1e-12)


@pytest.mark.parametrize(
    ("exploration", "envs", "epsilons"),
    [
        (PerEnvEpsilon(0.4, 7.0), 8, [0.4**n for n in range(1, 9)]),
        (PerEnvEpsilon(0.4, 7.0), 2, [0.4, 0.4**8]),
        (PerEnvEpsilon(0.5, 2.0), 5, [0.5, 0.5**1.5, 0.25, 0.5**2.5, 0.125]),
        (PerEnvEpsilon(0.4, 7.0), 1, [0.4]),
        (PerEnvEpsilon(0.3, 0.0), 3, [0.3] * 3),
        (PerEnvEpsilon(0.0, 7.0), 3, [0.0] * 3),
        (PerEnvEpsilon(1.0, 7.0), 3, [1.0] * 3),
    ],
)
def test_each_environment_keeps_an_epsilon_of_its_own(
    exploration: PerEnvEpsilon, envs: int, epsilons: list[float]
) -> None:
    for elapsed in (Clock(), HORIZON):
        found = exploration.epsilon(elapsed, HORIZON, envs)
        assert np.shape(found) == (envs,)
        assert np.asarray(found).tolist() == pytest.approx(epsilons)


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
def test_random_action_cuts_the_unit_interval_into_equal_parts_for_the_legal_actions(
    legal: list[int],
) -> None:
    mask = np.isin(np.arange(5), legal)
    uniform = (np.arange(60) + 0.5) / 60
    chosen = random_action(np.broadcast_to(mask, (60, 5)), uniform)
    each = 60 // len(legal)
    assert chosen.tolist() == [action for action in legal for _ in range(each)]


@pytest.mark.parametrize("actions", [1, 2, 3, 7, 10, 4096])
def test_random_action_stays_legal_at_the_ends_of_the_unit_interval(actions: int) -> None:
    ends = np.array([0.0, np.nextafter(1.0, 0.0)])
    chosen = random_action(np.ones((2, actions), bool), ends)
    assert chosen.tolist() == [0, actions - 1]


def test_random_action_takes_all_legal_actions_equally_often_and_no_other() -> None:
    random = np.random.default_rng(0)
    mask = np.array(
        [[True, False, True, True, False, True], [False, True, True, False, True, True]]
    )
    draws = np.stack([random_action(mask, random.random(2)) for _ in range(8000)])
    for env in range(2):
        counts = np.bincount(draws[:, env], minlength=6)
        assert counts[~mask[env]].sum() == 0
        chi_square = ((counts[mask[env]] - 2000) ** 2 / 2000).sum()
        assert chi_square < 16.3  # 3 degrees of freedom, 0.1 %


def test_random_action_keeps_leading_axes() -> None:
    mask = np.ones((2, 3, 4), bool)
    uniform = np.arange(6).reshape(2, 3) / 8
    # floor(4 * [0, 1, 2, 3, 4, 5] / 8)
    assert random_action(mask, uniform).tolist() == [[0, 0, 1], [1, 2, 2]]


# The best of the legal ones are 1, 2, 0 and 1.
VALUES = np.array([[[1.0, 5.0, 3.0], [1.0, 5.0, 3.0]], [[-7.0, -5.0, -9.0], [0.0, 0.0, 0.0]]])
LEGAL = np.array([[[1, 1, 1], [1, 0, 1]], [[1, 0, 1], [0, 1, 1]]], bool)


def test_best_action_is_the_best_one_of_each_row() -> None:
    assert best_action(VALUES).tolist() == [[1, 1], [1, 0]]
    assert best_action(legal_values(VALUES, LEGAL)).tolist() == [[1, 2], [0, 1]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_legal_values_are_minus_infinity_elsewhere(dtype: str) -> None:
    legal = legal_values(VALUES.astype(dtype), LEGAL)
    assert legal.dtype == dtype
    assert (legal[LEGAL] == VALUES[LEGAL]).all()
    assert (legal[~LEGAL] == -np.inf).all()


@pytest.mark.parametrize("choice", [Constant(0.1), PerEnvEpsilon(0.4, 7.0), Noisy(), POINTS])
def test_the_preferred_action_is_the_best_legal_one_whatever_chance_says(
    choice: Exploration,
) -> None:
    for uniform in (np.zeros((2, 2)), np.full((2, 2), 0.999)):
        preferred = choice.preferred(legal_values(VALUES, LEGAL), uniform, NO_OBS)
        assert preferred.tolist() == [[1, 2], [0, 1]]


GRID = 10_000


def shares(q: list[float], mask: list[bool], temperature: float, dtype: str) -> Array:
    """How often Boltzmann exploration takes each action over an even grid of chances."""
    uniform = (np.arange(GRID) + 0.5) / GRID
    rows = np.broadcast_to(np.array(q, dtype), (GRID, len(q)))
    legal = legal_values(rows, np.broadcast_to(np.array(mask), rows.shape))
    chosen = Boltzmann(temperature).preferred(legal, uniform, NO_OBS)
    assert chosen.shape == (GRID,)
    return np.bincount(chosen, minlength=len(q)) / GRID


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("temperature", [0.1, 1.0, 30.0])
@pytest.mark.parametrize(
    "mask",
    [
        [True, True, True, True, True],
        [False, True, False, True, True],
        [True, False, True, False, False],
        [False, False, True, False, False],
    ],
)
def test_boltzmann_takes_each_legal_action_as_often_as_the_softmax_says(
    mask: list[bool], temperature: float, dtype: str
) -> None:
    q = [1.2, 0.9, 1.0, -0.5, 1.1]
    odds = [math.exp(value / temperature) * legal for value, legal in zip(q, mask, strict=True)]
    expected = np.array(odds) / sum(odds)
    found = shares(q, mask, temperature, dtype)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1.01 / GRID)
    assert found[~np.array(mask)].sum() == 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("largest", [1e3, 1e30])
def test_boltzmann_of_huge_values_is_greedy_and_splits_ties(largest: float, dtype: str) -> None:
    q = [-largest, largest, 0.0, largest, 2 * largest]
    with np.errstate(all="raise", under="ignore"):
        assert shares(q, [True] * 5, 0.1, dtype).tolist() == [0, 0, 0, 0, 1]
        assert shares(q, [True] * 4 + [False], 0.1, dtype).tolist() == [0, 0.5, 0, 0.5, 0]
        assert shares(q, [True, False, False, False, False], 0.1, dtype).tolist() == [1, 0, 0, 0, 0]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("legal", [[0, 1, 2, 3, 4], [1, 3], [2], [0, 4]])
def test_boltzmann_stays_legal_at_the_ends_of_the_unit_interval(
    legal: list[int], dtype: str
) -> None:
    mask = np.broadcast_to(np.isin(np.arange(5), legal), (2, 5))
    ends = np.array([0.0, np.nextafter(1.0, 0.0)])
    chosen = Boltzmann(0.7).preferred(legal_values(np.zeros((2, 5), dtype), mask), ends, NO_OBS)
    assert chosen.tolist() == [legal[0], legal[-1]]


def test_boltzmann_keeps_leading_axes() -> None:
    uniform = (np.arange(6).reshape(2, 3) + 0.5) / 8
    # four actions, equally likely: floor(4 * [0.5, 1.5, 2.5, 3.5, 4.5, 5.5] / 8)
    assert Boltzmann(1.0).preferred(np.zeros((2, 3, 4)), uniform, NO_OBS).tolist() == [
        [0, 0, 1],
        [1, 2, 2],
    ]


def test_an_episode_follows_a_head_and_epsilon_comes_on_top() -> None:
    exploration = Bootstrapped(Unit.steps, 0.4, 0.2, 100)
    assert exploration.epsilon(Clock(50), Clock(1000), 3) == pytest.approx(0.3)
    assert exploration.follows_heads
    assert not BY_UNITS.follows_heads
