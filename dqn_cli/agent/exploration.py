"""Exploration: how epsilon goes over a run, and which actions are taken without it and with it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dqn_cli.agent.clock import Clock, Unit
from dqn_cli.arrays import Array
from dqn_cli.ranges import NonNegative, Positive, Probability, Real


@dataclass
class Exploration:
    """What every choice answers."""

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> float | Array:
        """Chance of a random action, `elapsed` after learning started in a run of `horizon`.

        One number, or one for each environment [envs].
        """
        raise NotImplementedError

    def preferred(self, q: Array, uniform: Array) -> Array:
        """The action [...] where none is random, by values q [..., actions], -inf if illegal.

        `uniform` [...] has a number in [0, 1) for each choice, should it be left to chance.
        """
        return best_action(q)


@dataclass
class Constant(Exploration):
    """Epsilon stays at `start`."""

    start: Probability

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> float:
        """Always `start`."""
        return self.start


@dataclass
class Linear(Exploration):
    """Epsilon goes from `start` to `end` in a straight line and stays there (Mnih et al. 2015).

    A `duration` of at most 1 is a fraction of the run, above it a number of units.
    """

    unit: Unit
    start: Probability
    end: Probability
    duration: Positive

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> float:
        """Start + (end - start) * min(t / duration, 1)."""
        duration = self.duration
        if duration <= 1:
            duration *= horizon.reading(self.unit)
        passed = elapsed.reading(self.unit)
        share = passed / duration if passed < duration else 1.0
        return self.start + (self.end - self.start) * share


@dataclass
class Exponential(Exploration):
    """Epsilon falls from `start` to `end`; `decay` is the time constant, in units."""

    unit: Unit
    start: Probability
    end: Probability
    decay: Positive

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> float:
        """End + (start - end) * exp(-t / decay)."""
        fall = math.exp(-elapsed.reading(self.unit) / self.decay)
        return self.end + (self.start - self.end) * fall


@dataclass
class Multiplicative(Exploration):
    """Epsilon is multiplied by `decay` each unit, down to `end`."""

    unit: Unit
    start: Probability
    end: Probability
    decay: Probability

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> float:
        """max(end, start * decay^t)."""
        return max(self.end, self.start * self.decay ** elapsed.reading(self.unit))


@dataclass
class Piecewise(Exploration):
    """Epsilon goes in straight lines through `points`, each [when, epsilon]."""

    unit: Unit
    points: list[list[Real]]

    def __post_init__(self) -> None:
        """ValueError unless the points are pairs in order of time, each epsilon from 0 to 1."""
        if not self.points or any(len(point) != 2 for point in self.points):
            raise ValueError("exploration.points must be a list of [when, epsilon] pairs")
        if any(not 0 <= epsilon <= 1 for _, epsilon in self.points):
            raise ValueError("exploration.points: each epsilon must be at least 0 and at most 1")
        times = [when for when, _ in self.points]
        if any(later <= earlier for earlier, later in pairwise(times)):
            raise ValueError(
                "exploration.points must be in order of time, each later than the last"
            )

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> float:
        """Linear interpolation, constant before the first point and after the last."""
        times, values = zip(*self.points, strict=True)
        return float(np.interp(elapsed.reading(self.unit), times, values))


@dataclass
class Ladder(Exploration):
    """Each environment keeps an epsilon of its own (Horgan et al. 2018, section 4.1).

    Environment i of N has start^(1 + spread i / (N - 1)).
    """

    start: Probability
    spread: NonNegative

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> Array:
        """From `start` for the first environment down to start^(1 + spread) for the last."""
        return np.asarray(self.start ** (1 + self.spread * np.arange(envs) / max(envs - 1, 1)))


@dataclass
class Boltzmann(Exploration):
    """Actions are drawn from the softmax of q / temperature (Sutton 1990)."""

    temperature: Positive

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> float:
        """Always 0."""
        return 0.0

    def preferred(self, q: Array, uniform: Array) -> Array:
        """A legal action, by the chance that its value gives it."""
        scaled = q / np.asarray(self.temperature)[..., None]  # one, or [members, 1, 1]
        with np.errstate(invalid="ignore"):
            odds = np.exp(scaled - scaled.max(-1, keepdims=True)).cumsum(-1)
        # Never beyond the last action with any chance, whatever rounding does.
        drawn = np.minimum(uniform[..., None] * odds[..., -1:], np.nextafter(odds[..., -1:], 0))
        chosen = (odds <= drawn).sum(-1)
        # Values that are not numbers have no odds, but an environment must get a legal action.
        return np.where(np.isfinite(odds[..., -1]), chosen, best_action(q))


@dataclass
class Noisy(Exploration):
    """The noise of the network's own layers explores (Fortunato et al. 2018); epsilon is 0."""

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> float:
        """Always 0."""
        return 0.0


def legal_values(q: Array, mask: Array) -> Array:
    """The values q [..., actions], with -inf for what a mask [..., actions] leaves out."""
    return np.where(mask, q, -np.inf)


def best_action(q: Array) -> Array:
    """The action [...] with the highest value in q [..., actions]."""
    return np.asarray(q.argmax(-1))


def explore(mask: Array, uniform: Array) -> Array:
    """A legal action [...] of mask [..., actions], all equally likely, picked by uniform [...]."""
    nth = (uniform * mask.sum(-1)).astype(np.int64)
    return np.asarray((mask.cumsum(-1) <= nth[..., None]).sum(-1))
