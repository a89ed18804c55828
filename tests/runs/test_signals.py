from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from dqn_cli.runs.signals import GracefulShutdown, ImmediateShutdown


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
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
