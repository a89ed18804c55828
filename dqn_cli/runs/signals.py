"""Graceful shutdown: signals end a run after its current step, with a checkpoint."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self

from dqn_cli.interrupts import UserInterrupt, end_at_second


def _signals(*names: str) -> list[signal.Signals]:
    """Return the signals that this system has; Windows has few."""
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


END_SIGNALS = _signals("SIGINT", "SIGTERM", "SIGHUP")  # SIGHUP: a terminal was closed
PREEMPTION_SIGNALS = _signals("SIGUSR1", "SIGUSR2")  # schedulers announce the end of a job
PREEMPTED = 85  # exit code: the same command with resume=auto goes on
STDERR = 2
AGAIN_SECONDS = 1.0  # within which another SIGTERM counts as the same, which some tools send twice
STUCK_SECONDS = 1.5  # after which a run that was told to end at once is ended
SHUTDOWN_MESSAGE = (
    b"\nstopping and saving a checkpoint; a second Ctrl-C ends at once and saves nothing\n"
)
COMPILING_MESSAGE = (
    b"\nstopping while compiling, so nothing is saved:"
    b" resume= continues from the last checkpoint, or starts over\n"
)


class ImmediateShutdown(BaseException):
    """The first signal, raised inside `GracefulShutdown.immediate`."""


class GracefulShutdown:
    """Signal handlers that note the first signal; a second one may end the run at once.

    A second Ctrl-C raises UserInterrupt. Another signal does so only if nobody has asked for
    `requested` since the first one, as in a step that never returns.
    """

    def __init__(
        self,
        on_stuck: Callable[[], None] | None = None,
        numbers: Sequence[signal.Signals] | None = None,
    ) -> None:
        """Prepare the handlers.

        Args:
            on_stuck: Called before the process ends because it goes on after UserInterrupt.
            numbers: The signals; None for all that end a run.
        """
        self.signal: signal.Signals | None = None
        self.received = 0  # signals
        self._on_stuck, self._timer = on_stuck, threading.Timer(0, lambda: None)
        self._first_at, self._is_noticed = 0.0, False
        self._is_immediate = self._preempted = False
        self._numbers = [*END_SIGNALS, *PREEMPTION_SIGNALS] if numbers is None else numbers
        self._outer: GracefulShutdown | None = None
        self._previous_handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Python allows handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in self._numbers:
                # A signal that the parent process chose to ignore (nohup does) stays ignored.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous_handlers[number] = signal.signal(number, self._handle)
                    if number == signal.SIGINT:
                        end_at_second(number)
            self._take_over()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)
        if self._outer:  # the jobs that follow must not start
            self._outer.signal = self._outer.signal or self.signal
            self._outer._preempted |= self._preempted

    @property
    def requested(self) -> bool:
        """True once a signal has arrived."""
        self._is_noticed = self.signal is not None
        return self._is_noticed

    @property
    def exit_code(self) -> int:
        """Exit code that a shell expects after this signal (130, 143 or 129), 85, or 0."""
        if self._preempted:
            return PREEMPTED
        return 128 + self.signal if self.signal is not None else 0

    @contextmanager
    def immediate(self) -> Iterator[None]:
        """Raise ImmediateShutdown at the first signal, because compilation takes long."""
        before, self._is_immediate = self.signal, True
        try:
            yield
        finally:
            self._is_immediate = False
            if self.signal is not before:
                raise ImmediateShutdown  # the compiler may have replaced or swallowed the first one

    def has_ended(self) -> None:
        """Note that the run has ended after a UserInterrupt, so that its process may go on."""
        self._timer.cancel()

    def _take_over(self) -> None:
        """Note the signal that came while a surrounding shutdown handled signals."""
        handlers = self._previous_handlers.values()
        owners = [getattr(handler, "__self__", None) for handler in handlers]
        self._outer = next((owner for owner in owners if isinstance(owner, GracefulShutdown)), None)
        if self._outer:
            self.signal, self._preempted = self._outer.signal, self._outer._preempted
            self.received = self._outer.received

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.received += 1
        self._preempted |= number in PREEMPTION_SIGNALS  # it may come together with SIGTERM
        if number == signal.SIGINT:
            signal.signal(number, self._handle)
            end_at_second(number)
        if self.signal is not None:
            self._handle_another(number)
            return
        self._first_at = time.monotonic()
        if number == signal.SIGINT:
            # The signal may have interrupted `print` itself; a `tee` behind a pipe may be gone.
            with suppress(OSError):
                os.write(STDERR, COMPILING_MESSAGE if self._is_immediate else SHUTDOWN_MESSAGE)
        self.signal = signal.Signals(number)
        if self._is_immediate:
            raise ImmediateShutdown

    def _handle_another(self, number: int) -> None:
        is_again = time.monotonic() - self._first_at < AGAIN_SECONDS
        if number != signal.SIGINT and (self._is_noticed or is_again):
            return
        if number in PREEMPTION_SIGNALS:
            return
        if self._on_stuck is not None and not self._timer.is_alive():
            self._timer = threading.Timer(STUCK_SECONDS, self._end_process, [number])
            self._timer.daemon = True
            self._timer.start()
        raise UserInterrupt(number)

    def _end_process(self, number: int) -> None:
        """End the process from another thread, because the main thread does not end."""
        assert self._on_stuck is not None
        with suppress(Exception):
            self._on_stuck()
        with suppress(OSError):
            os.write(STDERR, b"error: interrupted\n")
        os._exit(128 + number)


def exit_when_preempted() -> None:
    """Exit with PREEMPTED at SIGUSR1 and SIGUSR2, which would else end the process unheard."""
    for number in PREEMPTION_SIGNALS:
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, lambda number, frame: sys.exit(PREEMPTED))


def hand_over() -> None:
    """Let a handler act that was there before a session's, such as submitit's, which requeues."""
    for number in PREEMPTION_SIGNALS:
        handler = signal.getsignal(number)
        if callable(handler):
            handler(number, None)
