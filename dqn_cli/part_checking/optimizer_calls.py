"""Calls of an optimizer's methods, and what must hold of a step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dqn_cli.agent.optimizers import Optimizer, OptimizerState
from dqn_cli.part_checking.calls import Call, Expected, find_compiling_problems, find_problems
from dqn_cli.part_checking.made_up_inputs import normal

SIZE = 7


def check_optimizer(optimizer: Optimizer) -> Iterator[str]:
    """Yield what is wrong with an optimizer."""
    count, vector = optimizer.moments, Expected((SIZE,))
    zeros = [torch.zeros(SIZE) for _ in range(count)]
    corrections, lr_factor = torch.zeros(count, dtype=torch.float64), torch.tensor(1.0).double()
    inputs = (normal(SIZE), normal(SIZE, seed=1), lr_factor, corrections, *zeros)
    expected = (vector, *[vector] * count, Expected((count,), is_exact=True))
    calls = [
        Call("clipped(gradient)", _clipped, (normal(SIZE),), (vector, Expected(()))),
        Call("step(state, gradient, lr_factor)", _step, inputs, expected),
    ]
    problems = [line for call in calls for line in find_problems(optimizer, call)]
    yield from problems or [*_rules(optimizer, inputs)] or find_compiling_problems(optimizer, calls)


def _rules(optimizer: Optimizer, inputs: tuple[Tensor, ...]) -> Iterator[str]:
    """Yield what a step must not do, wherever it goes."""
    lr_factor = inputs[2]
    still = _step(optimizer, *inputs[:2], torch.zeros_like(lr_factor), *inputs[3:])[0]
    if not torch.allclose(still, inputs[0]):
        yield "step ignores lr_factor: with 0 it must leave the parameters as they are"
    moved = _step(optimizer, *inputs)[0]
    if torch.equal(moved, inputs[0]):
        yield "step leaves the parameters as they are"


def _step(optimizer: Optimizer, *inputs: Tensor) -> Any:
    parameters, gradient, lr_factor, corrections, *moments = inputs
    state = OptimizerState(parameters, tuple(moments), corrections)
    after = optimizer.step(state, gradient, lr_factor)
    return (after.parameters, *after.moments, after.corrections)


def _clipped(optimizer: Optimizer, gradient: Tensor) -> Any:
    return tuple(optimizer.clipped(gradient))
