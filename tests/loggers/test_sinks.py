from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from scripted_logs import FailingLog, HangingLog, NotedLog

from dqn_cli.loggers import sinks
from dqn_cli.loggers.logger import Log
from dqn_cli.loggers.sinks import CLOSE, Call, DirectSink, QueuedSink, Sink

KINDS = pytest.mark.parametrize("kind", [DirectSink, QueuedSink])
MICROSECONDS = 20  # that a row may cost the training loop


def row(step: int) -> Call:
    return Call("row", ({"loss": 0.5}, step))


def wait_for(sink: Sink) -> None:
    """Waits until the sink has done all it was told."""
    for _ in range(500):
        if sink.is_done():
            return
        time.sleep(0.01)
    raise AssertionError("the sink is not done")


@KINDS
def test_calls_reach_the_log_in_order(kind: Callable[..., Sink]) -> None:
    notes: list[Any] = []
    sink = kind(lambda: NotedLog(notes), pytest.fail)
    for step in (1, 2):
        sink.send(row(step))
    sink.send(CLOSE)
    wait_for(sink)
    assert notes == [({"loss": 0.5}, 1), ({"loss": 0.5}, 2), "closed"]


@KINDS
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("a wrong\nthing"), "ValueError: a wrong"),
        (OSError(28, "No space left on device"), "[Errno 28] No space left on device"),
        (RuntimeError(), "RuntimeError: "),
    ],
)
def test_a_log_that_raises_is_told_of_once_and_never_called_again(
    kind: Callable[..., Sink], error: Exception, reason: str
) -> None:
    notes: list[Any] = []
    warned: list[str] = []
    sink = kind(lambda: FailingLog(notes, error), warned.append)
    for step in range(5):
        sink.send(row(step))
    sink.send(CLOSE)
    wait_for(sink)
    assert warned == [reason]
    assert notes == [({"loss": 0.5}, 0)]


@KINDS
def test_a_log_that_can_not_be_opened_is_told_of_once(kind: Callable[..., Sink]) -> None:
    warned: list[str] = []

    def open_log() -> Log:
        raise ConnectionError("no network")

    sink = kind(open_log, warned.append)
    sink.send(row(1))
    sink.send(CLOSE)
    wait_for(sink)
    assert warned == ["no network"]


def test_a_log_that_exits_ends_its_thread_and_not_the_run() -> None:
    warned: list[str] = []
    sink = QueuedSink(lambda: FailingLog(["noted"], SystemExit(3)), warned.append)
    sink.send(row(1))
    wait_for(sink)
    assert warned == ["SystemExit: 3"]


def test_a_log_that_hangs_is_given_up_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "HANG_SECONDS", 0.05)
    log, warned = HangingLog(), list[str]()
    sink = QueuedSink(lambda: log, warned.append)
    sink.send(row(1))
    assert log.entered.wait(10)
    time.sleep(0.1)
    for step in (2, 3):
        sink.send(row(step))
    assert warned == ["it has not answered for 0 s"]
    assert sink.is_done()
    log.released.set()


def test_an_idle_log_does_not_count_as_hanging(monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[Any] = []
    sink = QueuedSink(lambda: NotedLog(notes), pytest.fail)
    sink.send(row(1))
    while not notes:
        time.sleep(0.01)
    time.sleep(0.05)
    monkeypatch.setattr(sinks, "HANG_SECONDS", 0.02)
    sink.send(row(2))
    sink.send(CLOSE)
    wait_for(sink)
    assert notes[-1] == "closed"


def test_a_log_that_is_far_behind_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "MOST_WAITING", 10)
    log, warned = HangingLog(), list[str]()
    sink = QueuedSink(lambda: log, warned.append)
    for step in range(20):
        sink.send(row(step))
    assert warned == ["it is 10 calls behind"]
    log.released.set()


def test_a_row_costs_the_training_loop_little() -> None:
    sink = QueuedSink(lambda: NotedLog([]), pytest.fail)
    seconds = []
    for _ in range(50):
        begun = time.perf_counter()
        for step in range(20):
            sink.send(row(step))
        seconds.append((time.perf_counter() - begun) / 20)
        time.sleep(0.002)
    sink.send(CLOSE)
    # Other programs may take the processor away, but not each time.
    assert min(seconds) * 1e6 < MICROSECONDS
