from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from dqn_cli.agent.optimizers import OptimizerState, Schedule, Sgd
from dqn_cli.part_checking.optimizer_calls import check_optimizer

Step = Callable[["Own", OptimizerState, Tensor, Tensor], OptimizerState]


@dataclass
class Own(Sgd):
    """An optimizer whose step is a function."""

    own_step: Step = field(kw_only=True)

    def step(self, state: OptimizerState, gradient: Tensor, lr_factor: Tensor) -> OptimizerState:
        return self.own_step(self, state, gradient, lr_factor)


def changed(state: OptimizerState, parameters: Tensor) -> OptimizerState:
    return state._replace(parameters=parameters)


WRONG: list[tuple[Step, str]] = [
    (
        lambda own, state, g, factor: changed(state, state.parameters - own.lr * g),
        "step ignores lr_factor: with 0 it must leave the parameters as they are",
    ),
    (lambda own, state, g, factor: state, "step leaves the parameters as they are"),
    (
        lambda own, state, g, factor: changed(state, state.parameters.sub_(own.lr * g)),
        "step(state, gradient, lr_factor) changes an input in place",
    ),
    (
        lambda own, state, g, factor: changed(state, state.parameters.double() - g),
        "step(state, gradient, lr_factor) returns torch.float64, and must return torch.float32",
    ),
    (
        lambda own, state, g, factor: state._replace(moments=()),
        "step(state, gradient, lr_factor) returns 2 results, and must return 3",
    ),
]


@pytest.mark.parametrize(("step", "line"), WRONG)
def test_one_line_says_what_is_wrong(step: Step, line: str) -> None:
    own = Own(0.1, Schedule.constant, 1.0, 0.9, own_step=step)
    problems = list(check_optimizer(own))
    assert problems[0].startswith(line)
    assert torch.is_grad_enabled()
