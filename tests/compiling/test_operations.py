from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from dqn_cli.compiling.operations import OperationRecorder, Program, build_program

Function = Callable[..., list[Tensor]]


def recorded(function: Function, *places: Tensor) -> Program | None:
    with OperationRecorder() as recorder:
        results = function(*places)
    return build_program(recorder.operations, places, results)


def program_of(function: Function, *places: Tensor) -> Program:
    program = recorded(function, *places)
    assert program is not None
    return program


def called_by(program: Program) -> list[str]:
    """Names of the operations that a program calls."""
    with OperationRecorder() as recorder:
        program()
    return [operation.name for operation in recorder.operations]


def test_a_program_computes_from_what_is_in_the_places_now() -> None:
    x = torch.tensor([1.0, 2.0])
    program = program_of(lambda x: [x * 2, (x + 1).sum()], x)
    x.copy_(torch.tensor([3.0, 5.0]))
    doubled, total = program()
    assert doubled.tolist() == [6, 10]
    assert total.item() == 10


def test_a_program_has_the_gradient_of_a_function() -> None:
    def gradient(x: Tensor) -> list[Tensor]:
        x = x.detach().requires_grad_()
        return list(torch.autograd.grad((x**3).sum(), x))

    x = torch.tensor([1.0, 2.0])
    program = program_of(gradient, x)
    x.copy_(torch.tensor([2.0, 10.0]))
    assert program()[0].tolist() == [12, 300]


def test_a_program_changes_places_and_says_which() -> None:
    def step(weights: Tensor, x: Tensor) -> list[Tensor]:
        weights[1].add_(x.sum())
        return []

    weights, x = torch.zeros(2), torch.ones(3)
    program = program_of(step, weights, x)
    assert weights.tolist() == [0, 3]
    program()
    assert weights.tolist() == [0, 6]
    assert {value.untyped_storage().data_ptr() for value in program.changed} == {
        weights.untyped_storage().data_ptr()
    }


def test_views_of_places_and_tensors_of_shapes_alone_are_not_made_again() -> None:
    def function(x: Tensor) -> list[Tensor]:
        first, second = x.view(2, 3).unbind(0)
        return [first[1:] + second[None, 1:] * torch.ones_like(first[1:]).sum() + torch.arange(2)]

    x = torch.arange(6.0)
    program = program_of(function, x)
    assert called_by(program) == ["mul", "add", "add"]
    x.mul_(10)
    assert program()[0].tolist() == [[10 + 40 * 2, 20 + 50 * 2 + 1]]


def test_a_tensor_of_shapes_alone_that_is_written_is_made_in_each_call() -> None:
    def function(x: Tensor) -> list[Tensor]:
        sums = torch.zeros(2)
        sums.add_(x)
        return [sums]

    x = torch.tensor([1.0, 2.0])
    program = program_of(function, x)
    assert [program()[0].tolist() for _ in range(2)] == [[1, 2]] * 2


def test_what_was_computed_before_is_not_computed_again_unless_its_input_is_written() -> None:
    def function(x: Tensor, written: Tensor) -> list[Tensor]:
        twice = [x.sum() + 1, x.sum() + 1]
        before = written.sum()
        written.add_(1)
        return [*twice, before, written.sum()]

    x, written = torch.ones(2), torch.zeros(2)
    program = program_of(function, x, written)
    assert called_by(program) == ["sum", "add", "sum", "add_", "sum"]
    assert [value.item() for value in program()] == [3, 3, 4, 6]


def test_what_nobody_needs_is_left_out() -> None:
    def function(x: Tensor) -> list[Tensor]:
        x.exp().sum()
        return [x + 1]

    assert called_by(program_of(function, torch.ones(2))) == ["add"]


def test_an_operation_with_several_results_and_some_that_are_none() -> None:
    def function(x: Tensor, weight: Tensor) -> list[Tensor]:
        weight = weight.detach().requires_grad_()
        loss = torch.conv2d(x, weight).square().sum()  # the gradient of x is not asked for
        values, indices = x.flatten().sort()
        return [*torch.autograd.grad(loss, weight), values, indices]

    x, weight = torch.randn(2, 1, 4, 4), torch.randn(3, 1, 2, 2)
    program = program_of(function, x, weight)
    x.copy_(torch.randn(2, 1, 4, 4))
    for result, expected in zip(program(), function(x, weight), strict=True):
        assert torch.equal(result, expected)


def test_random_numbers_are_drawn_in_each_call() -> None:
    first, second = program_of(lambda: [torch.rand(3), torch.rand(3)])()
    assert not torch.equal(first, second)


def test_tensors_made_before_keep_their_place() -> None:
    outside = torch.tensor([1.0])
    program = program_of(lambda x: [x + outside], torch.tensor([1.0]))
    outside.fill_(5)
    assert program()[0].tolist() == [6]


@pytest.mark.parametrize(
    "function",
    [
        lambda x: [x * x.sum().item()],
        lambda x: [x * 2 if x.sum() > 0 else x],
        lambda x: [x[x > 0]],
        lambda x: [x.nonzero()],
    ],
)
def test_a_function_that_looks_at_values_has_no_program(function: Any) -> None:
    assert recorded(function, torch.ones(3)) is None


def test_an_index_of_numbers_selects_by_what_they_are_now() -> None:
    x, order = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2, 0])
    program = program_of(lambda x, order: [x[order]], x, order)
    order.copy_(torch.tensor([1, 1]))
    assert program()[0].tolist() == [2, 2]
