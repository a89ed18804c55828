from __future__ import annotations

from itertools import pairwise

import pytest

from dqn_cli.agent.clock import Clock, Unit, crossings


@pytest.mark.parametrize(
    ("unit", "reading"), [(Unit.steps, 7), (Unit.updates, 5), (Unit.episodes, 3)]
)
def test_a_clock_reads_each_of_its_units(unit: Unit, reading: int) -> None:
    assert Clock(steps=7, updates=5, episodes=3).reading(unit) == reading


def test_a_clock_starts_at_zero() -> None:
    assert Clock() == (0, 0, 0)


def test_time_since_a_start_is_counted_in_each_unit_by_itself() -> None:
    assert Clock(10, 4, 2).since(Clock(3, 1, 2)) == Clock(7, 3, 0)


def test_time_since_a_later_start_is_zero() -> None:
    assert Clock(10, 4, 2).since(Clock(11, 1, 5)) == Clock(0, 3, 0)


@pytest.mark.parametrize("unit", Unit)
@pytest.mark.parametrize(("now", "start", "passed"), [(9, 4, 5), (9, 9, 0), (4, 9, 0), (4, 0, 4)])
def test_time_that_passed_is_that_of_each_unit_and_never_negative(
    unit: Unit, now: int, start: int, passed: int
) -> None:
    others = Clock(100, 200, 300), Clock(1, 2, 3)
    later, earlier = (
        each._replace(**{unit.value: reading})
        for each, reading in zip(others, (now, start), strict=True)
    )
    since = later.since(earlier)
    assert since.reading(unit) == passed
    assert since == Clock(99, 198, 297)._replace(**{unit.value: passed})


@pytest.mark.parametrize(
    ("before", "now", "every", "crossed"),
    [
        (0, 0, 1, 0),
        (0, 1, 1, 1),
        (0, 9, 10, 0),
        (0, 10, 10, 1),
        (9, 10, 10, 1),
        (10, 11, 10, 0),  # 10 itself was crossed on the way to it
        (10, 19, 10, 0),
        (8, 16, 10, 1),  # several environments pass over 10 in one step
        (9, 31, 10, 3),  # 10, 20, 30
        (0, 4, 1, 4),
    ],
)
def test_crossings_counts_the_multiples_after_before_up_to_now(
    before: int, now: int, every: int, crossed: int
) -> None:
    assert crossings(before, now, every) == crossed


def test_every_multiple_is_crossed_exactly_once_however_time_is_cut() -> None:
    readings = [0, 1, 4, 4, 9, 16, 17, 30]
    counts = [crossings(before, now, 3) for before, now in pairwise(readings)]
    assert sum(counts) == 10  # 3, 6, ..., 30
