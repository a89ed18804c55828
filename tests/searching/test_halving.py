from __future__ import annotations

import pytest

from dqn_cli.searching.halving import rung_steps, survivors


@pytest.mark.parametrize(
    ("fractions", "steps", "every", "rungs"),
    [
        ([0.1, 0.3], 50_000, 500, [5_000, 15_000]),
        ([0.3, 0.1], 50_000, 500, [5_000, 15_000]),
        ([0.1, 0.3], 2_000, 400, [400, 800]),
        ([0.01, 0.02], 2_000, 400, [400]),
        ([0.1, 0.9], 500, 500, []),
        ([], 2_000, 400, []),
    ],
)
def test_rungs_are_at_evaluations(
    fractions: list[float], steps: int, every: int, rungs: list[int]
) -> None:
    assert rung_steps(fractions, steps, every, 0) == rungs


def test_nothing_is_judged_before_learning_starts() -> None:
    assert rung_steps([0.1, 0.3], 1_000, 50, 100) == [300]
    assert rung_steps([0.1, 0.3], 1_000, 50, 99) == [100, 300]


def test_one_in_so_many_goes_on() -> None:
    scores = {0: 5.0, 1: 9.0, 2: 7.0, 3: 1.0, 4: 8.0, 5: 3.0}
    assert survivors(range(6), scores, 3) == [1, 4]
    assert survivors(range(6), scores, 2) == [1, 2, 4]
    assert survivors(range(6), scores, 100) == [1]


def test_earlier_trials_at_the_rung_count_too() -> None:
    earlier = {0: 50.0, 1: 40.0, 2: 30.0}
    assert survivors([3, 4, 5], earlier | {3: 1.0, 4: 2.0, 5: 3.0}, 3) == []
    assert survivors([3, 4, 5], earlier | {3: 1.0, 4: 99.0, 5: 60.0}, 3) == [4, 5]


def test_of_equals_the_earlier_one_goes_on() -> None:
    assert survivors(range(4), dict.fromkeys(range(4), 1.0), 2) == [0, 1]


def test_nothing_is_judged_without_trials() -> None:
    assert survivors([], {}, 3) == []
