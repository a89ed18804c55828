from __future__ import annotations

import pytest

from dqn_cli.runs import stopwatch
from dqn_cli.runs.stopwatch import ACTIVITIES, Stopwatch


class Time:
    """A clock that goes on only when a test advances it."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(stopwatch, "time", time)
    return time


def test_all_activities_start_at_zero_seconds(time: Time) -> None:
    watch = Stopwatch()
    time.now += 7
    assert watch.seconds == dict.fromkeys(ACTIVITIES, 0)


def test_a_lap_adds_its_time_to_an_activity(time: Time) -> None:
    watch = Stopwatch()
    laps = ((1, "start"), (2, "train"), (4, "eval"), (8, "train"), (16, "compile"), (32, "train"))
    for seconds, activity in laps:
        time.now += seconds
        watch.record_lap(activity)
    assert watch.seconds == {"start": 1, "train": 42, "eval": 4, "compile": 16}


def test_measure_adds_the_time_inside_and_the_time_before_it_to_training(time: Time) -> None:
    watch = Stopwatch()
    time.now += 1
    watch.record_lap("start")
    time.now += 2
    for inside in (4, 8):
        with watch.measure("compile"):
            time.now += inside
        time.now += 16
    watch.record_lap("train")
    assert watch.seconds == {"start": 1, "train": 34, "eval": 0, "compile": 12}


def test_a_failure_inside_measure_is_raised_and_no_time_is_lost(time: Time) -> None:
    watch = Stopwatch()

    def fail() -> None:
        time.now += 5
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), watch.measure("compile"):
        fail()
    watch.record_lap("train")
    assert watch.seconds == {"start": 0, "train": 0, "eval": 0, "compile": 5}


def test_each_stopwatch_starts_when_it_is_created(time: Time) -> None:
    first = Stopwatch()
    time.now += 3
    second = Stopwatch()
    time.now += 4
    for watch in (first, second):
        watch.record_lap("train")
    assert (first.seconds["train"], second.seconds["train"]) == (7, 4)
