"""Coverage of intervals, error rates of tests: the short form of benchmarks/intervals.py."""

from __future__ import annotations

from importlib import import_module
from math import sqrt
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PROMISED = 0.93  # coverage, from five seeds on
ALLOWED = 0.05  # of equal choices called different
KINDS = range(5)


@pytest.fixture
def intervals(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return import_module("intervals")


def sampling_error(share: float, experiments: int) -> float:
    """Three standard errors of a share."""
    return 3 * sqrt(share * (1 - share) / experiments)


def check_coverage(intervals: Any, kind: int, seeds: int, experiments: int) -> Any:
    found = intervals.coverage(intervals.KINDS[kind], seeds, experiments)
    least = PROMISED - sampling_error(PROMISED, experiments)
    assert found.mean >= least
    assert found.iqm >= least
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_intervals_of_five_seeds_hold(intervals: Any, kind: int) -> None:
    check_coverage(intervals, kind, seeds=5, experiments=300)


def test_plain_percentiles_do_not_hold(intervals: Any) -> None:
    found = intervals.coverage(intervals.KINDS[0], 5, 300)
    assert found.mean_before < 0.9
    assert intervals.coverage(intervals.KINDS[0], 3, 300).iqm < 0.85  # too few seeds for any


def test_disjoint_intervals_find_less_than_the_test(intervals: Any) -> None:
    found = intervals.difference_rates(intervals.KINDS[0], 10, 1.5, 200)
    assert found.after > 0.8 > found.before
    equal = intervals.difference_rates(intervals.KINDS[0], 5, 0.0, 200)
    assert equal.after <= ALLOWED + sampling_error(ALLOWED, 200)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seeds", [5, 6, 7, 10, 30])
def test_intervals_hold(intervals: Any, kind: int, seeds: int) -> None:
    found = check_coverage(intervals, kind, seeds, experiments=1000)
    assert found.mean >= found.mean_before


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seeds", [3, 5, 10, 30])
def test_equal_choices_are_called_different_as_rarely_as_promised(
    intervals: Any, kind: int, seeds: int
) -> None:
    found = intervals.difference_rates(intervals.KINDS[kind], seeds, 0.0, 1000)
    assert found.after <= ALLOWED + sampling_error(ALLOWED, 1000)
