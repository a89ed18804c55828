"""Target networks: when and how far they follow the online network."""

from __future__ import annotations

from dataclasses import dataclass, field

from dqn_cli.agent.clock import Clock, Unit, crossings
from dqn_cli.ranges import Count, Probability


@dataclass
class TargetNetwork:
    """Base of all rules for the target network."""

    def polyak_coefficient(self, before: Clock, now: Clock) -> float:
        """Return the Polyak coefficient that is due between two clock readings.

        The target parameters become (1 - tau) * target + tau * online; 0 leaves them unchanged.
        """
        raise NotImplementedError

    @property
    def acts(self) -> bool:
        """True if actions are chosen by the target network, in training and after it."""
        return False


@dataclass
class Hard(TargetNetwork):
    """A copy every so many steps, updates or episodes (Mnih et al. 2015)."""

    every: Count
    unit: Unit

    def polyak_coefficient(self, before: Clock, now: Clock) -> float:
        """Return 1 where a multiple of `every` was crossed."""
        crossed = crossings(before.reading(self.unit), now.reading(self.unit), self.every)
        return 1.0 if crossed else 0.0


@dataclass
class Soft(TargetNetwork):
    """Polyak averaging after each update (Lillicrap et al. 2016, algorithm 1).

    With `act` the average is also what acts (D'Oro et al. 2023; Schwarzer et al. 2023).
    """

    tau: Probability
    act: bool = field(default=False, kw_only=True)

    @property
    def acts(self) -> bool:
        """Set by `act`."""
        return self.act

    def polyak_coefficient(self, before: Clock, now: Clock) -> float:
        """Return tau after an update, else 0."""
        return self.tau if now.updates > before.updates else 0.0


@dataclass
class NoTarget(TargetNetwork):
    """No separate target network: the online parameters are copied after every update."""

    def polyak_coefficient(self, before: Clock, now: Clock) -> float:
        """Return 1 after an update, else 0."""
        return 1.0 if now.updates > before.updates else 0.0
