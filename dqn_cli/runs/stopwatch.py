"""Where a session's time goes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

ACTIVITIES = ("start", "train", "eval", "compile")


class Stopwatch:
    """Seconds by the clock on the wall that each activity took so far."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(ACTIVITIES, 0.0)
        self._lap = time.perf_counter()

    def lap(self, activity: str) -> None:
        """Books the time since the last lap."""
        now = time.perf_counter()
        self.seconds[activity] += now - self._lap
        self._lap = now

    @contextmanager
    def booked(self, activity: str) -> Iterator[None]:
        """Books what happens inside, and the time before it as training."""
        self.lap("train")
        try:
            yield
        finally:
            self.lap(activity)
