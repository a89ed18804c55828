from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from torch import Tensor

from dqn_cli.agent.auxiliary import Auxiliary, Cql, Margin
from dqn_cli.agent.batch import Batch, Following
from dqn_cli.agent.curiosity import Counts, Rnd
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.model import Model, NetworkOutputs
from dqn_cli.agent.parameters import Layout, Parameter
from dqn_cli.agent.self_prediction import Spr
from dqn_cli.part_checking.auxiliary_calls import check_auxiliary


@pytest.mark.parametrize(
    "part",
    [Cql(1.0), Margin(1.0, 0.8), Rnd(1.0, 0.5, 4), Counts(0.5, 6), Spr(5.0, 3)],
    ids=str,
)
def test_ours_are_right(part: Auxiliary) -> None:
    assert list(check_auxiliary(part)) == []


@dataclass
class Own(Auxiliary):
    """A part whose loss is a function of the values and the batch."""

    of: Callable[[Tensor, Batch], Any]
    weight: float = 2.0

    def loss(
        self, p: Parameters, model: Model, outputs: NetworkOutputs, batch: Batch
    ) -> Tensor | None:
        return self.weight * self.of(model.head.q(outputs.z), batch)


WRONG: list[tuple[Callable[[Tensor, Batch], Any], str]] = [
    (lambda q, batch: q.square().mean(), "loss(p, model, outputs, batch) returns shape []"),
    (lambda q, batch: q.log().sum(1), "loss(p, model, outputs, batch) returns NaN or infinity"),
    (
        lambda q, batch: q.sum(1) if q.sum() > 0 else q.mean(1),
        "loss(p, model, outputs, batch) looks at the value of a tensor",
    ),
]


@pytest.mark.parametrize(("of", "line"), WRONG)
def test_one_line_says_what_is_wrong(of: Callable[[Tensor, Batch], Any], line: str) -> None:
    assert next(check_auxiliary(Own(of))).startswith(line)


@dataclass
class Idle(Auxiliary):
    """A part that has neither loss nor bonus."""


@dataclass
class Forgetful(Idle):
    """A part that does not learn its own parameters, and pays a bonus."""

    def layout(self, model: Model) -> Layout:
        return {"unused": Parameter((2,), 0, 1)}

    def bonus(self, p: Parameters, model: Model, batch: Batch) -> Tensor | None:
        return 0 * batch.reward


def test_parts_that_do_nothing_or_learn_nothing_are_told() -> None:
    assert list(check_auxiliary(Idle())) == [
        "it has neither loss nor bonus, so that it does nothing"
    ]
    (problem,) = check_auxiliary(Forgetful())
    assert problem == (
        "loss does not use unused of layout: what nothing learns belongs to constants"
    )


@dataclass
class Ahead(Auxiliary):
    """A part whose loss is a function of the observations that follow."""

    of: Callable[[Batch, Following], Any]
    steps: int = 2

    @property
    def following(self) -> int:
        return self.steps

    def following_loss(
        self, p: Parameters, target: Parameters, model: Model, batch: Batch, following: Following
    ) -> Tensor | None:
        return self.of(batch, following)


def change(batch: Batch, following: Following) -> Tensor:
    steps = (following.obs - batch.obs[:, None]).square().mean(2)  # [batch, steps]
    return (steps * following.within).mean(1)


AHEAD: list[tuple[Ahead, str]] = [
    (Ahead(lambda batch, following: following.obs.mean()), "returns shape []"),
    (Ahead(lambda batch, following: change(batch, following).numpy()), "returns ndarray"),
    (
        Ahead(lambda batch, following: batch.reward * float(following.within.all())),
        "looks at the value of a tensor",
    ),
]


def test_losses_of_what_follows_are_checked_too() -> None:
    assert list(check_auxiliary(Ahead(change))) == []
    assert list(check_auxiliary(Ahead(change, steps=0))) == [
        "following_loss reads as many steps as `following` says: it needs both"
    ]


@pytest.mark.parametrize(("part", "told"), AHEAD)
def test_one_line_says_what_is_wrong_with_what_follows(part: Ahead, told: str) -> None:
    problem = next(check_auxiliary(part))
    assert problem.startswith("following_loss(p, target, model, batch, following)")
    assert told in problem
