"""Annealing: numbers that start at another value and move to their own (Schwarzer et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from dqn_cli.agent.clock import length_of
from dqn_cli.ranges import NonNegative, Positive


class Shape(Enum):
    """Course of a number from one value to another."""

    exponential = "exponential"  # by the same factor in equal times
    linear = "linear"  # by the same difference


@dataclass
class Annealing:
    """A number that is `start` when learning begins and after each reset; None: it never changes.

    A `duration` of at most 1 is a fraction of the run, a larger one a number of steps.
    """

    start: NonNegative | None = None
    duration: Positive = 1.0
    shape: Shape = Shape.exponential

    def value(self, end: float, passed: int, run_length: int, limit: float = 0) -> float:
        """Return the number after some steps.

        Args:
            end: Its value after the duration.
            passed: Steps since learning began, or since the last reset.
            run_length: Steps of the whole run.
            limit: The distance to this number is what changes by factors.
        """
        duration = length_of(self.duration, run_length)
        if self.start is None or passed >= duration:
            return end
        start, share = self.start, passed / duration
        if self.shape is Shape.linear:
            return start + share * (end - start)
        factor: float = ((end - limit) / (start - limit)) ** share
        return limit + (start - limit) * factor


@dataclass
class AnnealConfig:
    """Numbers that can be annealed."""

    gamma: Annealing = field(default_factory=Annealing)
    n_step: Annealing = field(default_factory=Annealing)
    lr: Annealing = field(default_factory=Annealing)
    updates_per_train: Annealing = field(default_factory=Annealing)
