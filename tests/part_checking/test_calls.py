from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dqn_cli.part_checking.calls import (
    Call,
    Expected,
    find_compiling_problems,
    find_problems,
    numbers_of,
    smaller,
)
from dqn_cli.ranges import Count, Positive


@dataclass
class Part:
    """A part with a decimal number and a whole one."""

    factor: Positive = 2.0
    count: Count = 3


PART = Part()
INPUTS = torch.tensor([[1.0, -2.0], [3.0, 4.0], [0.5, 0.1]]), torch.tensor([0, 1, 1])


def problems(run: Callable[..., Any], *expected: Expected, is_mapped: bool = True) -> list[str]:
    expected = expected or (Expected((3,)),)
    call = Call("f(x, i)", run, INPUTS, expected, is_mapped)
    return [*find_problems(PART, call)] or [*find_compiling_problems(PART, [call])]


RIGHT: list[Callable[..., Any]] = [
    lambda part, x, i: part.factor * x.sum(1),
    lambda part, x, i: x.sum(1).clamp(-part.factor, part.factor),
    lambda part, x, i: torch.where(x[:, 0] > part.factor, x[:, 1], x[:, 0]) * part.count,
    lambda part, x, i: x.gather(1, i[:, None]).squeeze(1),
    lambda part, x, i: x.clone().mul_(part.factor).amax(1),
    lambda part, x, i: None,
]
LOOKS = "looks at the value of a tensor"
WRONG: dict[str, tuple[Callable[..., Any], str]] = {
    "raises": (lambda part, x, i: x @ x, "f(x, i) raised RuntimeError: "),
    "in_place": (lambda part, x, i: x.mul_(2).sum(1), "changes an input in place"),
    "shape": (lambda part, x, i: x, "returns shape [3, 2], and must return [3]"),
    "number": (lambda part, x, i: 1.0, "returns float, and must return a tensor"),
    "two": (lambda part, x, i: (x, x), "returns 2 results, and must return 1"),
    "nan": (lambda part, x, i: x[:, 1].log(), "returns NaN or infinity"),
    "float32": (lambda part, x, i: x.sum(1).float(), "float32, and must return torch.float64 here"),
    "new": (
        lambda part, x, i: x @ torch.ones(2),
        "in float64 raised RuntimeError: ",
    ),
    "python": (
        lambda part, x, i: F.threshold(x, part.factor, 0.0).sum(1) * x.new_full((), part.factor),
        LOOKS,
    ),
    "if_number": (lambda part, x, i: x.sum(1) if part.factor > 1 else x.mean(1), LOOKS),
    "if_value": (lambda part, x, i: x.sum(1) if x.max() > 1 else x.mean(1), LOOKS),
    "float": (lambda part, x, i: x.sum(1) * float(part.factor), LOOKS),
}


@pytest.mark.parametrize("run", RIGHT)
def test_a_pure_function_of_tensors_has_no_problem(run: Callable[..., Any]) -> None:
    assert problems(run) == []


@pytest.mark.parametrize("name", WRONG)
def test_one_line_says_what_is_wrong(name: str) -> None:
    run, line = WRONG[name]
    (problem,) = problems(run)
    assert problem.startswith("f(x, i) ")
    assert line in problem


def test_what_changes_from_call_to_call_is_wrong() -> None:
    calls = []

    def counted(part: Part, x: Tensor, i: Tensor) -> Tensor:
        calls.append(1)
        return x.sum(1) + len(calls)

    (problem,) = problems(counted)
    assert "something else" in problem or "changes from call to call" in problem


def test_members_that_are_computed_in_turn_need_no_vmap() -> None:
    def asks_for_memory(part: Part, x: Tensor, i: Tensor) -> Tensor:
        pictures = x[None, None].contiguous(memory_format=torch.channels_last)
        return pictures[0, 0].sum(1)

    assert problems(asks_for_memory, is_mapped=False) == []
    (problem,) = problems(asks_for_memory)
    assert problem.startswith("f(x, i) can't be mapped over members by torch.func.vmap: ")


def test_lengths_may_be_any_and_results_exact() -> None:
    anything = Expected((3, None)), Expected((), is_exact=True)
    assert problems(lambda part, x, i: (x, x.sum().double()), *anything) == []
    (problem,) = problems(lambda part, x, i: (x[0], x.sum().double()), *anything)
    assert problem == "f(x, i) returns shape [2], and must return [3, any]"
    (problem,) = problems(lambda part, x, i: (x, x.sum()), *anything)
    assert problem == "f(x, i) returns torch.float32, and must return torch.float64 here"


def test_numbers_are_the_decimal_fields() -> None:
    assert numbers_of(PART) == {"factor": 2.0}
    assert smaller(PART) == Part(1.8, 3)
