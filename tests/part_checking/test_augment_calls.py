from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
from torch import Tensor

from dqn_cli.agent.augmentation import Augment, NoAugment, Shift
from dqn_cli.agent.spaces import Spaces
from dqn_cli.part_checking.augment_calls import check_augment


@pytest.mark.parametrize("part", [NoAugment(), Shift(4, 0.05), Shift(1, 0)], ids=str)
def test_ours_are_right(part: Augment) -> None:
    assert list(check_augment(part)) == []


@dataclass
class Own(Augment):
    """An augmentation of all observations by one random number each."""

    of: Callable[[Tensor, Tensor], Any]
    scale: float = 0.5

    numbers: ClassVar[int] = 1

    def augmented(self, obs: Tensor, uniform: Tensor, spaces: Spaces) -> Tensor:
        return self.of(obs, self.scale * uniform.view(-1, *[1] * (obs.ndim - 1)))


def test_one_of_ones_own_is_right() -> None:
    assert list(check_augment(Own(lambda obs, factor: obs * (1 + factor)))) == []


WRONG: list[tuple[Callable[[Tensor, Tensor], Any], str]] = [
    (lambda obs, u: obs.flatten(1).sum(1), "returns shape [4]"),
    (lambda obs, u: obs.mul_(u), "changes an input in place"),
    (lambda obs, u: obs * u if u[0].sum() > 0.5 else obs, "looks at"),
    (lambda obs, u: obs + obs.mean(0), "mixes rows of the batch"),
]


@pytest.mark.parametrize(("of", "told"), WRONG)
def test_one_line_says_what_is_wrong(of: Callable[[Tensor, Tensor], Any], told: str) -> None:
    problem = next(check_augment(Own(of)))
    assert problem.startswith("augmented(obs, uniform, spaces)")
    assert told in problem


@dataclass
class Nothing(Augment):
    """An augmentation that takes random numbers for nothing."""

    numbers: ClassVar[int] = 2


@dataclass
class Never(Own):
    """An augmentation without random numbers."""

    numbers: ClassVar[int] = 0


@dataclass
class Choosy(Own):
    """An augmentation that refuses all observations."""

    def check(self, spaces: Spaces) -> None:
        raise ValueError("sounds only")


def test_numbers_are_no_method() -> None:
    class Wrong(Own):
        def numbers(self) -> int:  # type: ignore[override]
            return 2

    (problem,) = check_augment(Wrong(lambda obs, u: obs))
    assert problem.endswith("it must be a class attribute, a whole number")


def test_parts_that_do_nothing_are_told() -> None:
    assert list(check_augment(Nothing())) == [
        "it takes random numbers, and has no method augmented"
    ]
    (problem,) = check_augment(Never(lambda obs, u: obs))
    assert problem.startswith("numbers is 0")
    (problem,) = check_augment(Choosy(lambda obs, u: obs))
    assert problem == "it takes neither numbers nor pictures: sounds only"
