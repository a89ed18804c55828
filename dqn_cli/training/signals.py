"""Ctrl-C and SIGTERM end a run after the step it is in, so that nothing is lost."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Self

STDERR = 2
STOPPING = b"\nstopping and saving a checkpoint; a second Ctrl-C ends at once and saves nothing\n"


class Interruption:
    """While entered, remembers the first signal; a second Ctrl-C ends the process at once."""

    def __init__(self) -> None:
        self.signal: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        # Python allows handlers in the main thread alone; elsewhere whoever owns it decides.
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
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
        """What a shell expects of a process ended by this signal: 130 or 143."""
        return 128 + self.signal if self.signal is not None else 0

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            if self.signal is not None:
                raise KeyboardInterrupt
            # Not by `print`, which may be what was interrupted; a `tee` behind a pipe may be gone.
            with suppress(OSError):
                os.write(STDERR, STOPPING)
        self.signal = self.signal or signal.Signals(number)
