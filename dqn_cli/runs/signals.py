"""Graceful shutdown: Ctrl-C, SIGTERM and SIGHUP end a run after its current step."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self

# Windows has no SIGHUP, which is sent when a terminal is closed.
HANDLED_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
STDERR = 2
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
    """Signal handlers that note the first signal; a second Ctrl-C raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._is_immediate = False
        self._previous_handlers: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Python allows handlers in the main thread only.
        if threading.current_thread() is threading.main_thread():
            for number in HANDLED_SIGNALS:
                # A signal that the parent process chose to ignore (nohup does) stays ignored.
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._previous_handlers[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous_handlers.items():
            signal.signal(number, handler)

    @property
    def requested(self) -> bool:
        """True once a signal has arrived."""
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """Exit code that a shell expects after this signal (130, 143 or 129), or 0."""
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

    def _handle(self, number: int, frame: FrameType | None) -> None:
        is_first = self.signal is None
        if number == signal.SIGINT:
            if not is_first:
                raise KeyboardInterrupt
            # The signal may have interrupted `print` itself; a `tee` behind a pipe may be gone.
            with suppress(OSError):
                os.write(STDERR, COMPILING_MESSAGE if self._is_immediate else SHUTDOWN_MESSAGE)
        self.signal = self.signal or signal.Signals(number)
        if is_first and self._is_immediate:
            raise ImmediateShutdown
