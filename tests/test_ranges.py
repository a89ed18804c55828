from __future__ import annotations

import math
from typing import Any, get_args

import pytest

from dqn_cli import ranges
from dqn_cli.ranges import Range


@pytest.mark.parametrize(
    ("allowed", "inside", "outside"),
    [
        (Range(0, 1), [0, 0.5, 1], [-1e-9, 1 + 1e-9, math.inf, -math.inf]),
        (Range(0, low_included=False), [1e-300, 5], [0, -0.0, -1]),
        (Range(1, whole=True), [1, 1.0, 1e6, 2**70], [0, 1.5, -1, math.inf, -math.inf]),
        (Range(-math.inf), [-1e300, 0, 3], []),
        (Range(-2, 2, low_included=False, whole=True), [-1, 0, 2], [-2, 3, 0.5]),
        (Range(-math.inf, 0), [-1e300, -1, 0, -0.0], [1e-300, 1, math.inf, -math.inf]),
        (Range(0, 1, high_included=False), [0, 1 - 1e-9], [1, -1e-9]),
    ],
)
def test_a_range_contains_the_numbers_within_its_bounds(
    allowed: Range, inside: list[float], outside: list[float]
) -> None:
    assert [value for value in inside if not allowed.contains(value)] == []
    assert [value for value in [*outside, math.nan] if allowed.contains(value)] == []


@pytest.mark.parametrize(
    ("allowed", "words"),
    [
        (Range(0, 1), "a number of at least 0 and at most 1"),
        (Range(0), "a number of at least 0"),
        (Range(0, low_included=False), "a number above 0"),
        (Range(1, whole=True), "a whole number of at least 1"),
        (Range(-math.inf), "a number"),
        (Range(0.5, 2, low_included=False), "a number above 0.5 and at most 2"),
        (Range(0, 1, high_included=False), "a number of at least 0 and below 1"),
        (Range(-math.inf, 0), "a number of at most 0"),
        (Range(-math.inf, 3, whole=True), "a whole number of at most 3"),
        (Range(-math.inf, whole=True), "a whole number"),
    ],
)
def test_a_range_describes_itself(allowed: Range, words: str) -> None:
    assert str(allowed) == words


@pytest.mark.parametrize(
    ("name", "least", "below"),
    [
        ("Count", 1, 0),
        ("Several", 2, 1),
        ("Natural", 0, -1),
        ("Positive", 1e-9, 0),
        ("NonNegative", 0, -1e-9),
        ("Probability", 0, -1e-9),
        ("Decay", 0, -1e-9),
        ("NonPositive", -1e300, -math.inf),
        ("Real", -1e300, math.nan),
    ],
)
def test_each_type_has_its_lower_bound(name: str, least: float, below: float) -> None:
    _, allowed, *_ = get_args(getattr(ranges, name))
    assert allowed.contains(least)
    assert not allowed.contains(below)


@pytest.mark.parametrize(
    ("name", "whole"),
    [("Count", True), ("Several", True), ("Natural", True), ("Real", False)],
)
def test_counts_are_whole(name: str, whole: bool) -> None:
    allowed: Any = get_args(getattr(ranges, name))[1]
    assert allowed.contains(2.5) is not whole


@pytest.mark.parametrize(
    ("name", "most", "above"),
    [("NonPositive", 0, 1e-9), ("Probability", 1, 1.0001), ("Decay", 1 - 1e-9, 1)],
)
def test_each_bounded_type_has_its_upper_bound(name: str, most: float, above: float) -> None:
    _, allowed, *_ = get_args(getattr(ranges, name))
    assert allowed.contains(most)
    assert not allowed.contains(above)


def test_types_describe_their_ranges() -> None:
    assert str(get_args(ranges.Several)[1]) == "a whole number of at least 2"
    assert str(get_args(ranges.NonPositive)[1]) == "a number of at most 0"
