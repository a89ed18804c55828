from __future__ import annotations

import pytest

from dqn_cli.agent.annealing import Annealing, Shape

LINEAR, EXPONENTIAL = Shape.linear, Shape.exponential


@pytest.mark.parametrize(
    ("passed", "expected"), [(0, 10.0), (25, 8.25), (50, 6.5), (100, 3.0), (101, 3.0), (9999, 3.0)]
)
def test_a_linear_number_changes_by_equal_differences(passed: int, expected: float) -> None:
    assert Annealing(10, 100, LINEAR).value(3, passed, 9) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("passed", "expected"), [(0, 16.0), (1, 8.0), (2, 4.0), (3, 2.0), (4, 1.0), (5, 1.0)]
)
def test_an_exponential_number_changes_by_equal_factors(passed: int, expected: float) -> None:
    assert Annealing(16, 4, EXPONENTIAL).value(1, passed, 9) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("passed", "distance"), [(0, 0.16), (1, 0.08), (2, 0.04), (3, 0.02)])
def test_its_distance_to_a_limit_may_be_what_changes(passed: int, distance: float) -> None:
    gamma = Annealing(0.84, 3, EXPONENTIAL).value(0.98, passed, 9, limit=1)
    assert gamma == pytest.approx(1 - distance, rel=1e-12)


@pytest.mark.parametrize("shape", Shape)
def test_the_ends_are_exact(shape: Shape) -> None:
    annealing = Annealing(0.1, 7, shape)
    assert annealing.value(0.7, 0, 9) == pytest.approx(0.1, rel=1e-15)
    assert annealing.value(0.7, 7, 9) == 0.7
    assert annealing.value(0.7, 7, 9, limit=1) == 0.7


def test_a_number_without_a_start_never_changes() -> None:
    assert Annealing(None, 100, LINEAR).value(3, 0, 9) == 3


def test_a_duration_of_at_most_one_is_a_share_of_the_run() -> None:
    assert Annealing(0, 0.5, LINEAR).value(1, 10, 40) == pytest.approx(0.5)
    assert Annealing(0, 1, LINEAR).value(1, 10, 40) == pytest.approx(0.25)
    assert Annealing(0, 2, LINEAR).value(1, 1, 40) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("updates", "n_step", "gamma"),
    # exp of the logarithm between 10 and 3, and 1 - exp of that between 0.03 and 0.003
    [(0, 10, 0.97), (2500, 7, 0.98313), (5000, 5, 0.99051), (7500, 4, 0.99467), (10000, 3, 0.997)],
)
def test_the_published_schedules_of_bbf(updates: int, n_step: int, gamma: float) -> None:
    n = Annealing(10, 10_000, EXPONENTIAL).value(3, updates, 9)
    assert round(n) == n_step
    found = Annealing(0.97, 10_000, EXPONENTIAL).value(0.997, updates, 9, limit=1)
    assert found == pytest.approx(gamma, abs=1e-5)
