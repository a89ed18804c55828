"""Ctrl-C, SIGTERM and SIGHUP end a run after the step it is in, so that nothing is lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Any, Self

# Windows has no SIGHUP, which comes when a terminal is closed.
HEEDED = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
STDERR = 2
STOPPING = b"\nstopping and saving a checkpoint; a second Ctrl-C ends at once and saves nothing\n"
CUTTING_SHORT = (
    b"\nstopping while it compiles, when nothing can be saved:"
    b" resume= goes on from the last checkpoint, or begins anew\n"
)


class CutShort(BaseException):
    """The first signal came where nothing is waited for."""


class Interruption:
    """While entered, remembers the first signal; a second Ctrl-C ends the process at once."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._at_once = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Python allows handlers in the main thread alone; elsewhere whoever owns it decides.
        if threading.current_thread() is threading.main_thread():
            for number in HEEDED:
                # What is ignored stays so: whoever started this process wanted it (nohup does).
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._remember)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __bool__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """What a shell expects of a process ended by this signal: 130, 143 or 129."""
        return 128 + self.signal if self.signal is not None else 0

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """While entered, the first signal raises CutShort: code is compiled, which takes long."""
        before, self._at_once = self.signal, True
        try:
            yield
        finally:
            self._at_once = False
            if self.signal is not before:
                raise CutShort  # whatever others have made of it on its way

    def _remember(self, number: int, frame: FrameType | None) -> None:
        is_first = self.signal is None
        if number == signal.SIGINT:
            if not is_first:
                raise KeyboardInterrupt
            # Not by `print`, which may be what was interrupted; a `tee` behind a pipe may be gone.
            with suppress(OSError):
                os.write(STDERR, CUTTING_SHORT if self._at_once else STOPPING)
        self.signal = self.signal or signal.Signals(number)
        if is_first and self._at_once:
            raise CutShort
