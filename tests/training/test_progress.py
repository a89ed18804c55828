from __future__ import annotations

from collections.abc import Callable

import pytest

from dqn_cli.agent.clock import Clock
from dqn_cli.training.progress import (
    advance,
    is_finished,
    is_lockstep,
    progress,
    recycling_due,
    reset_due,
)
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]


def test_progress_is_by_steps_or_episodes_whichever_is_larger(settings_of: Compose) -> None:
    settings = settings_of("steps=100", "episodes=10")
    assert progress(settings, Clock(steps=25)) == pytest.approx(0.25)
    assert progress(settings, Clock(steps=25, episodes=5)) == pytest.approx(0.5)
    assert not is_finished(settings, Clock(steps=99, episodes=9))
    assert is_finished(settings, Clock(steps=99, episodes=10))


@pytest.mark.parametrize(
    ("every", "before", "now", "due"),
    [
        (None, 0, 50, False),
        (10, 8, 9, False),
        (10, 9, 10, True),
        (10, 10, 11, False),
        (10, 8, 12, True),
        (10, 8, 35, True),
        (10, 99, 100, True),
        (100, 99, 100, True),
        (30, 80, 100, True),
        (30, 80, 89, False),
    ],
)
def test_a_reset_is_due_at_each_multiple(
    settings_of: Compose, every: int | None, before: int, now: int, due: bool
) -> None:
    settings = settings_of("steps=100", f"reset.every={'null' if every is None else every}")
    assert reset_due(settings, Clock(steps=before), Clock(steps=now)) is due


@pytest.mark.parametrize(
    ("every", "before", "now", "updates", "due"),
    [(None, 9, 10, 5, False), (10, 9, 10, 5, True), (10, 9, 10, 0, False), (10, 10, 11, 5, False)],
)
def test_units_are_recycled_at_each_multiple_once_there_were_updates(
    settings_of: Compose, every: int | None, before: int, now: int, updates: int, due: bool
) -> None:
    settings = settings_of(f"reset.dormant={'null' if every is None else every}")
    assert recycling_due(settings, Clock(before, updates), Clock(now, updates)) is due


def test_members_count_their_own_episodes_and_take_steps_together() -> None:
    ended = [[True, False, False], [False, False, False], [True, True, False]]
    before = [Clock(9, 2, 4), Clock(9, 2, 0), Clock(9, 2, 7)]
    assert advance(before, ended) == [Clock(12, 2, 5), Clock(12, 2, 0), Clock(12, 2, 9)]


@pytest.mark.parametrize(
    ("common", "own", "together"),
    [
        ((), ("gamma=0.5", "optimizer.lr=0.1"), True),
        (("optimizer.schedule=linear",), (), True),
        ((), ("target.every=3",), False),
        ((), ("target=soft",), False),
        ((), ("exploration.end=0.3",), False),
        (("episodes=5",), (), False),
        (("target.unit=episodes",), (), False),
        (("exploration.unit=episodes", "exploration.duration=5"), (), False),
    ],
)
def test_members_are_in_lockstep_where_schedules_and_periods_are_the_same(
    settings_of: Compose, common: tuple[str, ...], own: tuple[str, ...], together: bool
) -> None:
    settings = [settings_of(*common), settings_of(*common, "seed=1", *own)]
    assert is_lockstep(settings) is together
