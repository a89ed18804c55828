from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

from dqn_cli.runs.signals import CutShort, Interruption


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize(
    ("number", "exit_code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)],
)
def test_a_signal_is_remembered_with_its_exit_code(number: signal.Signals, exit_code: int) -> None:
    with Interruption() as interruption:
        assert not interruption
        assert interruption.exit_code == 0
        send(number)
        assert interruption
        assert interruption.signal is number
        assert interruption.exit_code == exit_code
    assert interruption.exit_code == exit_code


@pytest.mark.parametrize(
    ("first", "second"),
    [(signal.SIGINT, signal.SIGTERM), (signal.SIGTERM, signal.SIGTERM)],
)
def test_the_first_signal_is_the_one_that_counts(
    first: signal.Signals, second: signal.Signals
) -> None:
    with Interruption() as interruption:
        send(first)
        send(second)
        assert interruption.signal is first


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_after_a_signal_ends_at_once(first: signal.Signals) -> None:
    with Interruption() as interruption:
        send(first)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
        assert interruption.signal is first


@pytest.mark.parametrize(("number", "told"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_ctrl_c_says_what_a_second_one_would_do(
    number: signal.Signals, told: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with Interruption():
        send(number)
    assert ("a second Ctrl-C ends at once" in capfd.readouterr().err) is told


@pytest.mark.parametrize(("number", "told"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_the_first_signal_cuts_short_what_is_not_waited_for(
    number: signal.Signals, told: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    with Interruption() as interruption:
        with pytest.raises(CutShort), interruption.at_once():
            send(number)
        assert interruption.signal is number
        assert ("when nothing can be saved" in capfd.readouterr().err) is told


def test_what_is_cut_short_stays_so_whatever_others_make_of_it() -> None:
    def swallow() -> None:
        with suppress(BaseException):
            send(signal.SIGTERM)

    with Interruption() as interruption:
        with pytest.raises(CutShort), interruption.at_once():
            swallow()
        assert interruption.exit_code == 143


def test_a_signal_before_or_behind_what_is_not_waited_for_is_remembered() -> None:
    with Interruption() as interruption:
        with interruption.at_once():
            pass
        send(signal.SIGTERM)
        with interruption.at_once():
            send(signal.SIGTERM)
            with pytest.raises(KeyboardInterrupt):
                send(signal.SIGINT)
        assert interruption.signal is signal.SIGTERM


def test_ctrl_c_counts_where_nobody_reads_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    monkeypatch.setattr("dqn_cli.runs.signals.STDERR", write)
    with Interruption() as interruption:
        send(signal.SIGINT)
        assert interruption.exit_code == 130
    os.close(write)


def test_handlers_are_as_before_afterwards() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    def fail() -> None:
        with Interruption():
            assert signal.getsignal(signal.SIGINT) is not before[0]
            raise LookupError

    with pytest.raises(LookupError):
        fail()
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_other_threads_leave_the_handlers_alone() -> None:
    found = []

    def work() -> None:
        with Interruption() as interruption:
            found.append((signal.getsignal(signal.SIGINT), bool(interruption)))

    thread = threading.Thread(target=work)
    before = signal.getsignal(signal.SIGINT)
    thread.start()
    thread.join()
    assert found == [(before, False)]


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
        with Interruption() as interruption:
            assert signal.getsignal(deaf) is signal.SIG_IGN
            send(deaf)
            assert not interruption
            send(heard)
            assert interruption.signal is heard
        assert signal.getsignal(deaf) is signal.SIG_IGN


def test_ctrl_c_that_is_ignored_ends_nothing_the_second_time_either() -> None:
    with ignored(signal.SIGINT), Interruption() as interruption:
        send(signal.SIGTERM)
        send(signal.SIGINT)
        assert interruption.exit_code == 143
