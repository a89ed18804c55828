"""Time that a session spends on each activity."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

ACTIVITIES = ("start", "train", "eval", "compile")


class Stopwatch:
    """Wall-clock seconds spent on each activity so far."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(ACTIVITIES, 0.0)
        self._lap_start = time.perf_counter()

    def record_lap(self, activity: str) -> None:
        """Add the time since the last lap to an activity."""
        now = time.perf_counter()
        self.seconds[activity] += now - self._lap_start
        self._lap_start = now

    @contextmanager
    def measure(self, activity: str) -> Iterator[None]:
        """Add the time inside the block to an activity, and the time before it to training."""
        self.record_lap("train")
        try:
            yield
        finally:
            self.record_lap(activity)
