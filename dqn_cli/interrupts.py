"""Ctrl-C and time limits, told apart from what somebody else's code raises."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

ALARM_PERIOD = 1.0  # seconds after which a block that goes on in spite of its limit is told again
ALARMS = 4  # that a block may swallow


class UserInterrupt(KeyboardInterrupt):
    """A signal of the user that ends a command at once."""

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__("interrupted")
        self.exit_code = 128 + number


class TimeIsUp(BaseException):
    """The limit of a `time_limit` has passed."""


def is_ours(error: BaseException) -> bool:
    """Return whether an exception is a signal of the user or a time limit, not the code's own."""
    if isinstance(error, KeyboardInterrupt):
        is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
        return is_default or isinstance(error, UserInterrupt)
    return isinstance(error, TimeIsUp)


_last_resorts: list[Callable[[str], None]] = []


@contextmanager
def last_resort(save: Callable[[str], None]) -> Iterator[None]:
    """End the process, after `save(hang)`, if a `time_limit` in this block does not end its own."""
    _last_resorts.append(save)
    try:
        yield
    finally:
        _last_resorts.pop()


@contextmanager
def time_limit(seconds: float | None, hang: str = "") -> Iterator[None]:
    """Raise TimeIsUp inside the block after so many seconds, and again until it ends.

    There is no limit if it is None, outside the main thread, and where the system has no timers.
    Code that never returns to the interpreter can't be stopped.

    Args:
        seconds: The limit.
        hang: What it means that the block does not even end then, for a `last_resort`.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if seconds is None or not in_main_thread or not hasattr(signal, "setitimer"):
        yield
        return
    alarms = 0

    def ring(number: int, frame: FrameType | None) -> None:
        nonlocal alarms
        alarms += 1
        if hang and alarms > ALARMS and _last_resorts:
            try:
                _last_resorts[-1](hang)
                print(f"error: {hang}", file=sys.stderr, flush=True)
            finally:
                os._exit(1)
        raise TimeIsUp("its time is up")

    handler = signal.signal(signal.SIGALRM, ring)
    timer = signal.setitimer(signal.ITIMER_REAL, seconds, ALARM_PERIOD)
    try:
        yield
    finally:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
        finally:  # the alarm may come just now
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, handler)
            if timer[0]:
                signal.setitimer(signal.ITIMER_REAL, *timer)


def end_at_second(number: int) -> None:
    """Let the system end the process at a second signal that comes before the first is handled.

    Code that never returns to the interpreter lets no handler run. This works with glibc only.
    """
    with suppress(AttributeError, OSError):
        set_handler = ctypes.CDLL(None).sysv_signal
        set_handler.restype, set_handler.argtypes = ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p)
        ignore = 1
        set_handler(number, set_handler(number, ignore))


@contextmanager
def interrupts_marked() -> Iterator[None]:
    """Raise UserInterrupt at Ctrl-C, where Python would raise KeyboardInterrupt."""
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if not is_default or threading.current_thread() is not threading.main_thread():
        yield
        return
    _mark_interrupts()
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _mark_interrupts() -> None:
    signal.signal(signal.SIGINT, _raise_interrupt)
    end_at_second(signal.SIGINT)


def _raise_interrupt(number: int, frame: FrameType | None) -> None:
    _mark_interrupts()
    raise UserInterrupt(number)
