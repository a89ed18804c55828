"""When, and how far, the target network follows the online one."""

from __future__ import annotations

from dataclasses import dataclass

from dqn_cli.agent.clock import Clock, Unit, crossings
from dqn_cli.ranges import Count, Probability


@dataclass
class Target:
    """What every target rule answers."""

    def blend(self, before: Clock, now: Clock) -> float:
        """Share of the online parameters to blend in between two readings; 0 leaves it as it is."""
        raise NotImplementedError


@dataclass
class Hard(Target):
    """A copy every so many steps, updates or episodes (Mnih et al. 2015)."""

    every: Count
    unit: Unit

    def blend(self, before: Clock, now: Clock) -> float:
        """1 when a multiple of `every` was crossed."""
        crossed = crossings(before.reading(self.unit), now.reading(self.unit), self.every)
        return 1.0 if crossed else 0.0


@dataclass
class Soft(Target):
    """Polyak averaging after each update (Lillicrap et al. 2016, algorithm 1)."""

    tau: Probability

    def blend(self, before: Clock, now: Clock) -> float:
        """Tau after an update, 0 otherwise."""
        return self.tau if now.updates > before.updates else 0.0


@dataclass
class NoTarget(Target):
    """No separate target network: the copy is renewed after every update."""

    def blend(self, before: Clock, now: Clock) -> float:
        """1 after an update."""
        return 1.0 if now.updates > before.updates else 0.0
