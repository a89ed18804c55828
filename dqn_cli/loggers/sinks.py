"""Sinks: loggers of a run, behind which nothing can stop or slow the run."""

from __future__ import annotations

import time
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple

from dqn_cli.loggers.logger import Log
from dqn_cli.text import one_line

MOST_WAITING = 10_000  # calls that a logger may be behind
HANG_SECONDS = 120.0  # that one call may take

Open = Callable[[], Log]  # opens the log of a logger
Warn = Callable[[str], object]  # takes the reason why a logger stops


class Call(NamedTuple):
    """A method of a log, and what it is called with."""

    method: str
    arguments: tuple[Any, ...] = ()


CLOSE = Call("close")


class DirectSink:
    """Sink of a logger that is called at once; one that raises is never called again."""

    def __init__(self, open_log: Open, warn: Warn) -> None:
        """Open the log."""
        self._warn, self._log = warn, Log()
        self._works = True
        self._try(lambda: setattr(self, "_log", open_log()))

    def send(self, call: Call) -> None:
        """Call the log."""
        self._try(lambda: getattr(self._log, call.method)(*call.arguments))

    def is_done(self) -> bool:
        """Return True: nothing waits."""
        return True

    def give_up(self, reason: str) -> None:
        """Call the log no more, and warn once."""
        if self._works:
            self._works = False
            self._warn(reason)

    def _try(self, action: Callable[[], object]) -> None:
        if not self._works:
            return
        try:
            action()
        except Exception as error:  # the user's logger may raise anything
            self.give_up(reason_of(error))


class QueuedSink:
    """Sink of a logger that a thread of its own opens and calls.

    A logger that raises or hangs is never called again. The warning comes with the next call of
    `send` or `is_done`, because the screen is the main thread's.
    """

    def __init__(self, open_log: Open, warn: Warn) -> None:
        """Start the thread, which opens the log."""
        self._open, self._warn = open_log, warn
        self._calls: SimpleQueue[Call] = SimpleQueue()
        self._error: str | None = None  # of the thread
        self._works = True
        self._busy_since = time.monotonic()  # the thread's latest call
        self._is_idle = False
        self._thread = Thread(target=self._work, daemon=True, name="logger")
        self._thread.start()

    def send(self, call: Call) -> None:
        """Let the thread call the log."""
        if not self._works:
            return
        self._calls.put(call)
        if self._error is not None:
            self.give_up(self._error)
        elif not self._is_idle and time.monotonic() - self._busy_since > HANG_SECONDS:
            self.give_up(f"it has not answered for {HANG_SECONDS:.0f} s")
        elif self._calls.qsize() > MOST_WAITING:
            self.give_up(f"it is {MOST_WAITING:,} calls behind")

    def is_done(self) -> bool:
        """Return whether the thread has ended, as it does after a call of `close`."""
        if self._error is not None:
            self.give_up(self._error)
        return not self._works or not self._thread.is_alive()

    def give_up(self, reason: str) -> None:
        """Call the log no more, and warn once."""
        if self._works:
            self._works = False
            self._warn(reason)

    def _work(self) -> None:
        try:
            log, call = self._open(), None
            while call is not CLOSE and self._works:
                self._is_idle = True
                call = self._calls.get()
                self._busy_since, self._is_idle = time.monotonic(), False
                getattr(log, call.method)(*call.arguments)
        except BaseException as error:  # SystemExit too, which would end the thread unheard
            self._error = reason_of(error)


Sink = DirectSink | QueuedSink


def reason_of(error: BaseException) -> str:
    """Return an error in one line."""
    text = one_line((str(error).splitlines() or [""])[0])
    return text if text and isinstance(error, OSError) else f"{type(error).__name__}: {text}"
