"""Clocks: the progress of a run in each unit that periods and schedules count."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple


class Unit(Enum):
    """Unit that a period or a schedule counts, with its position in a clock."""

    position: int

    def __init__(self, name: str) -> None:
        self.position = ("steps", "updates", "episodes").index(name)

    steps = "steps"
    updates = "updates"
    episodes = "episodes"


def length_of(duration: float, run_length: int) -> float:
    """Return how many units a duration has; one of at most 1 is a fraction of the run."""
    return duration * run_length if duration <= 1 else duration


class Clock(NamedTuple):
    """Environment steps, gradient updates and finished episodes so far."""

    steps: int = 0
    updates: int = 0
    episodes: int = 0

    def reading(self, unit: Unit) -> int:
        """Return the count of one unit."""
        return self[unit.position]

    def since(self, start: Clock) -> Clock:
        """Return the difference to `start`, at least 0 in each unit."""
        return Clock(
            max(self.steps - start.steps, 0),
            max(self.updates - start.updates, 0),
            max(self.episodes - start.episodes, 0),
        )


def crossings(before: int, now: int, every: int | None) -> int:
    """Return how many multiples of `every` lie in (before, now]; None has no multiples."""
    return now // every - before // every if every is not None else 0
