from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from dqn_cli.interrupts import UserInterrupt
from dqn_cli.runs.signals import (
    END_SIGNALS,
    PREEMPTED,
    GracefulShutdown,
    ImmediateShutdown,
    exit_when_preempted,
    hand_over,
)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGHUP, 129),
        (signal.SIGUSR1, 85),
        (signal.SIGUSR2, 85),
    ],
)
def test_a_signal_is_noted_with_its_exit_code(number: signal.Signals, exit_code: int) -> None:
    with GracefulShutdown() as shutdown:
        assert not shutdown.requested
        assert shutdown.exit_code == 0
        send(number)
        assert shutdown.requested
        assert shutdown.signal is number
        assert shutdown.exit_code == exit_code
    assert shutdown.exit_code == exit_code


@pytest.mark.parametrize(
    ("first", "second"),
    [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGTERM)],
)
def test_the_first_signal_is_the_one_that_counts(
    first: signal.Signals, second: signal.Signals
) -> None:
    with GracefulShutdown() as shutdown:
        send(first)
        send(second)
        assert shutdown.signal is first


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_after_a_signal_ends_at_once(first: signal.Signals) -> None:
    with GracefulShutdown() as shutdown:
        send(first)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        assert shutdown.signal is first


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGHUP])
def test_another_sigterm_ends_a_step_that_does_not_return(
    monkeypatch: pytest.MonkeyPatch, second: signal.Signals
) -> None:
    monkeypatch.setattr("dqn_cli.runs.signals.AGAIN_SECONDS", 0.0)
    with GracefulShutdown() as shutdown:
        send(signal.SIGTERM)
        with pytest.raises(UserInterrupt) as caught:
            send(second)
        assert caught.value.exit_code == 128 + second
        assert shutdown.signal is signal.SIGTERM
        assert shutdown.received == 2


def test_another_sigterm_does_not_disturb_the_saving_that_follows_a_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("dqn_cli.runs.signals.AGAIN_SECONDS", 0.0)
    with GracefulShutdown() as shutdown:
        send(signal.SIGTERM)
        assert shutdown.requested
        send(signal.SIGTERM)
        with pytest.raises(UserInterrupt):
            send(signal.SIGINT)


STUCK = """
import os, signal, time
from dqn_cli.runs import signals
signals.STUCK_SECONDS = 0.3
with signals.GracefulShutdown(lambda: print("written", flush=True)):
    while True:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(100)
        except BaseException:
            pass
"""


def test_a_run_that_swallows_its_end_is_ended() -> None:
    command = [sys.executable, "-c", STUCK]
    process = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert process.returncode == 130
    assert process.stdout.splitlines()[-1] == "written"


def test_a_run_that_ends_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dqn_cli.runs.signals.STUCK_SECONDS", 0.2)
    stuck: list[int] = []
    with GracefulShutdown(lambda: stuck.append(1)) as shutdown:
        send(signal.SIGINT)
        with pytest.raises(UserInterrupt):
            send(signal.SIGINT)
        shutdown.has_ended()
        time.sleep(0.4)
    assert not stuck


@pytest.mark.parametrize(("number", "printed"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_ctrl_c_prints_what_a_second_one_would_do(
    number: signal.Signals, printed: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with GracefulShutdown():
        send(number)
    assert ("a second Ctrl-C ends at once" in capfd.readouterr().err) is printed


@pytest.mark.parametrize(("number", "printed"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_the_first_signal_ends_an_immediate_block(
    number: signal.Signals, printed: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with GracefulShutdown() as shutdown:
        with pytest.raises(ImmediateShutdown), shutdown.immediate():
            send(number)
        assert shutdown.signal is number
        assert ("so nothing is saved" in capfd.readouterr().err) is printed


def test_an_immediate_block_ends_even_if_its_exception_is_swallowed() -> None:
    def swallow() -> None:
        with suppress(BaseException):
            send(signal.SIGTERM)

    with GracefulShutdown() as shutdown:
        with pytest.raises(ImmediateShutdown), shutdown.immediate():
            swallow()
        assert shutdown.exit_code == 143


def test_a_signal_outside_an_immediate_block_is_noted() -> None:
    with GracefulShutdown() as shutdown:
        with shutdown.immediate():
            pass
        send(signal.SIGTERM)
        with shutdown.immediate():
            send(signal.SIGTERM)
            with pytest.raises(KeyboardInterrupt):
                send(signal.SIGINT)
        assert shutdown.signal is signal.SIGTERM


def test_ctrl_c_is_noted_if_stderr_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setattr("dqn_cli.runs.signals.STDERR", write)
    with GracefulShutdown() as shutdown:
        send(signal.SIGINT)
        assert shutdown.exit_code == 130
    os.close(write)


def test_handlers_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def fail() -> None:
        with GracefulShutdown():
            assert signal.getsignal(signal.SIGINT) is not before[0]
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_other_threads_leave_the_handlers_alone() -> None:
    states = []

    def work() -> None:
        with GracefulShutdown() as shutdown:
            states.append((signal.getsignal(signal.SIGINT), shutdown.requested))

    thread = threading.Thread(target=work)
    before = signal.getsignal(signal.SIGINT)
    thread.start()
    thread.join()
    assert states == [(before, False)]


@contextmanager
def ignored(number: signal.Signals) -> Iterator[None]:
    before = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize(
    ("deaf", "heard"), [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGINT)]
)
def test_a_signal_that_was_ignored_stays_ignored(
    deaf: signal.Signals, heard: signal.Signals
) -> None:
    with ignored(deaf):
        with GracefulShutdown() as shutdown:
            assert signal.getsignal(deaf) is signal.SIG_IGN
            send(deaf)
            assert not shutdown.requested
            send(heard)
            assert shutdown.signal is heard
        assert signal.getsignal(deaf) is signal.SIG_IGN


def test_an_ignored_second_ctrl_c_ends_nothing() -> None:
    with ignored(signal.SIGINT), GracefulShutdown() as shutdown:
        send(signal.SIGTERM)
        send(signal.SIGINT)
        assert shutdown.exit_code == 143


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_preemption_counts_also_after_another_signal(number: signal.Signals) -> None:
    with GracefulShutdown() as shutdown:
        send(signal.SIGTERM)
        send(number)
        assert (shutdown.signal, shutdown.exit_code) == (signal.SIGTERM, PREEMPTED)


def test_a_session_knows_what_came_before_it_and_says_what_came_in_it() -> None:
    with GracefulShutdown(numbers=END_SIGNALS) as outer:
        with GracefulShutdown() as first:
            assert not first.requested
            send(signal.SIGTERM)
        assert outer.requested
        with GracefulShutdown() as second:
            assert (second.signal, second.exit_code) == (signal.SIGTERM, 143)


@contextmanager
def handled(handler: Any) -> Iterator[None]:
    numbers = (signal.SIGUSR1, signal.SIGUSR2)
    before = [signal.signal(number, handler) for number in numbers]
    try:
        yield
    finally:
        for number, old in zip(numbers, before, strict=True):
            signal.signal(number, old)


def test_a_preempted_process_without_a_session_exits_with_the_same_code() -> None:
    with handled(signal.SIG_DFL):
        exit_when_preempted()
        with pytest.raises(SystemExit) as caught:
            send(signal.SIGUSR1)
    assert caught.value.code == PREEMPTED


@pytest.mark.parametrize("before", [signal.SIG_IGN, lambda number, frame: None])
def test_handlers_of_others_stay(before: Any) -> None:
    with handled(before):
        exit_when_preempted()
        assert signal.getsignal(signal.SIGUSR2) is before


def test_a_handler_of_others_acts_after_the_session() -> None:
    seen: list[int] = []
    with handled(lambda number, frame: seen.append(number)):
        with GracefulShutdown() as shutdown:
            send(signal.SIGUSR2)
        assert shutdown.requested
        assert not seen
        hand_over()
    assert seen == [signal.SIGUSR1, signal.SIGUSR2]
    with handled(signal.SIG_DFL):
        hand_over()
