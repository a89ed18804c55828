"""How far a run has come, in each of the units that periods and schedules are counted in."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Unit(Enum):
    """What a period or a schedule counts."""

    steps = "steps"
    updates = "updates"
    episodes = "episodes"


class Clock(NamedTuple):
    """Environment steps taken, gradient updates made and episodes finished so far."""

    steps: int = 0
    updates: int = 0
    episodes: int = 0

    def reading(self, unit: Unit) -> int:
        """The reading in one unit."""
        reading: int = getattr(self, unit.value)
        return reading

    def since(self, start: Clock) -> Clock:
        """The time passed since `start`, never negative."""
        return Clock(
            max(self.steps - start.steps, 0),
            max(self.updates - start.updates, 0),
            max(self.episodes - start.episodes, 0),
        )


def crossings(before: int, now: int, every: int) -> int:
    """How many multiples of `every` lie in (before, now]."""
    return now // every - before // every
