"""Exploration: schedules of epsilon, and the choice of greedy, soft and random actions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from dqn_cli.agent.clock import Clock, Unit, length_of
from dqn_cli.arrays import Array
from dqn_cli.ranges import NonNegative, Positive, Probability, Real


@dataclass
class Exploration:
    """Base of all explorations."""

    @property
    def follows_heads(self) -> bool:
        """True if each episode follows one head of an ensemble."""
        return False

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> float | Array:
        """Return the probability of a random action.

        Args:
            elapsed: Clock since learning started.
            horizon: Clock at the end of the run.
            envs: Number of environments.

        Returns:
            One number, or one for each environment [envs].
        """
        raise NotImplementedError

    def preferred(self, q: Array, uniform: Array, obs: Array) -> Array:
        """Choose the action [...] that is taken with probability 1 - epsilon.

        Args:
            q: Action values [..., actions]; -inf for illegal actions.
            uniform: A random number in [0, 1) for each choice, [...].
            obs: Observations to act on, [..., *shape].
        """
        return best_action(q)


@dataclass
class Constant(Exploration):
    """Epsilon stays at `start`."""

    start: Probability

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> float:
        """Return `start`."""
        return self.start


@dataclass
class Annealed(Exploration):
    """Base of schedules from `start` to `end` over a duration, after which epsilon is constant.

    A `duration` of at most 1 is a fraction of the run; a larger one is a number of units.
    """

    unit: Unit
    start: Probability
    end: Probability
    duration: Positive

    def share(self, elapsed: Clock, horizon: Clock) -> float:
        """Return the share of the duration that is over, 0 to 1."""
        duration = length_of(self.duration, horizon.reading(self.unit))
        passed = elapsed.reading(self.unit)
        return passed / duration if passed < duration else 1.0


@dataclass
class Linear(Annealed):
    """Epsilon goes linearly from `start` to `end` (Mnih et al. 2015)."""

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> float:
        """Return start + (end - start) * min(t / duration, 1)."""
        return self.start + (self.end - self.start) * self.share(elapsed, horizon)


@dataclass
class Bootstrapped(Linear):
    """An episode follows one head of an ensemble, drawn when it begins; epsilon comes on top.

    This is Thompson sampling: Osband et al. 2016, algorithm 1.
    """

    @property
    def follows_heads(self) -> bool:
        """True."""
        return True


@dataclass
class Exponential(Exploration):
    """Epsilon falls from `start` to `end`; `decay` is the time constant, in units."""

    unit: Unit
    start: Probability
    end: Probability
    decay: Positive

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> float:
        """Return end + (start - end) * exp(-t / decay)."""
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
        """Return max(end, start * decay^t)."""
        return max(self.end, self.start * self.decay ** elapsed.reading(self.unit))


@dataclass
class Piecewise(Exploration):
    """Epsilon goes linearly from each of `points` to the next; a point is [when, epsilon]."""

    unit: Unit
    points: list[list[Real]]

    def __post_init__(self) -> None:
        """Raise ValueError unless points are pairs in order of time, each epsilon from 0 to 1."""
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
        """Interpolate linearly; epsilon is constant before the first point and after the last."""
        times, values = zip(*self.points, strict=True)
        return float(np.interp(elapsed.reading(self.unit), times, values))


@dataclass
class PerEnvEpsilon(Exploration):
    """Each environment has a constant epsilon of its own (Ape-X, Horgan et al. 2018, section 4.1).

    Environment i of N has start^(1 + spread * i / (N - 1)).
    """

    start: Probability
    spread: NonNegative

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> Array:
        """Return the epsilons [envs], from `start` down to start^(1 + spread)."""
        return np.asarray(self.start ** (1 + self.spread * np.arange(envs) / max(envs - 1, 1)))


@dataclass
class Boltzmann(Exploration):
    """Actions are drawn from the softmax of q / temperature (Sutton 1990)."""

    temperature: Positive

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> float:
        """Return 0."""
        return 0.0

    def preferred(self, q: Array, uniform: Array, obs: Array) -> Array:
        """Draw a legal action from the softmax policy."""
        scaled = q / np.asarray(self.temperature)[..., None]  # one, or [members, 1, 1]
        with np.errstate(invalid="ignore"):
            odds = np.exp(scaled - scaled.max(-1, keepdims=True)).cumsum(-1)
        # Rounding must not select an action after the last one with a positive probability.
        drawn = np.minimum(uniform[..., None] * odds[..., -1:], np.nextafter(odds[..., -1:], 0))
        chosen = (odds <= drawn).sum(-1)
        # Without finite values there are no odds, but the environment must get a legal action.
        return np.where(np.isfinite(odds[..., -1]), chosen, best_action(q))


@dataclass
class Noisy(Exploration):
    """The network's noisy layers explore (Fortunato et al. 2018); epsilon is 0."""

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> float:
        """Return 0."""
        return 0.0


def legal_values(q: Array, mask: Array) -> Array:
    """Return q [..., actions] with -inf where a mask [..., actions] is false."""
    return np.where(mask, q, -np.inf)


def best_action(q: Array) -> Array:
    """Return the action [...] with the highest value in q [..., actions]."""
    return np.asarray(q.argmax(-1))


def random_action(mask: Array, uniform: Array) -> Array:
    """Draw a legal action [...] of mask [..., actions] uniformly, by random numbers [...]."""
    nth = (uniform * mask.sum(-1)).astype(np.int64)
    return np.asarray((mask.cumsum(-1) <= nth[..., None]).sum(-1))
