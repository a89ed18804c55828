from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from dqn_cli.agent.clock import Clock
from dqn_cli.agent.exploration import Boltzmann, Exploration
from dqn_cli.agent.target_networks import Soft, TargetNetwork
from dqn_cli.arrays import Array
from dqn_cli.part_checking.schedule_calls import check_exploration, check_target


@dataclass
class Own(Exploration):
    """An exploration of two functions."""

    share: float
    own_epsilon: Callable[[Clock], Any] = lambda elapsed: 0.1
    choose: Callable[[float, Array, Array], Any] = lambda share, q, uniform: q.argmax(-1)

    def epsilon(self, elapsed: Clock, horizon: Clock, envs: int) -> float:
        value: float = self.own_epsilon(elapsed)
        return value

    def preferred(self, q: Array, uniform: Array, obs: Array) -> Array:
        chosen: Array = self.choose(self.share, q, uniform)
        return chosen


def second(share: float, q: Array, uniform: Array) -> Array:
    return np.argsort(-q, axis=-1)[..., 1]


def in_place(share: float, q: Array, uniform: Array) -> Array:
    best = q.argmax(-1)
    q *= 2
    return np.asarray(best)


def by_share(share: float, q: Array, uniform: Array) -> Array:
    return np.asarray(q.argmax(-1) if np.mean(share) > 0.47 else q.argmax(-1) * 0)


WRONG: list[tuple[Exploration, str]] = [
    (Own(0.5, lambda elapsed: elapsed.steps / 1000), "epsilon is 2.0 after 2000 steps, and must"),
    (Own(0.5, lambda elapsed: 1 / elapsed.steps), "epsilon raised ZeroDivisionError"),
    (Own(0.5, lambda elapsed: [0.1, 0.2]), "epsilon returns shape [2], and must return a number"),
    (Own(0.5, choose=second), "preferred chooses illegal actions, whose q is -inf"),
    (Own(0.5, choose=in_place), "preferred changes q in place"),
    (Own(0.5, choose=lambda share, q, u: u), "preferred returns float64 [2, 3], and must return"),
    (Own(0.5, choose=lambda share, q, u: q.argmax()), "preferred returns int64 [], and must"),
    (Own(0.5, choose=by_share), "preferred chooses other actions for members side by side"),
]


@pytest.mark.parametrize(("own", "line"), WRONG)
def test_one_line_says_what_is_wrong(own: Exploration, line: str) -> None:
    (problem,) = check_exploration(own)
    assert problem.startswith(line)


def test_what_is_right_has_no_problem() -> None:
    assert list(check_exploration(Own(0.5))) == []
    assert list(check_exploration(Boltzmann(0.3))) == []
    assert list(check_target(Soft(0.1))) == []


@dataclass
class Own2(TargetNetwork):
    """A rule that returns what it is told."""

    value: Any

    def polyak_coefficient(self, before: Clock, now: Clock) -> float:
        value: float = self.value / (1 if now.steps else 0)
        return value


def test_a_coefficient_is_a_share() -> None:
    (problem,) = check_target(Own2(2.0))
    assert problem == "polyak_coefficient returns 2.0, and must return a number, 0 to 1"
    (problem,) = check_target(Own2("2"))
    assert problem.startswith("polyak_coefficient raised TypeError")
