from __future__ import annotations

import sys
from collections.abc import Callable
from copy import deepcopy
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dqn_cli.agent.module_contract import checked_module, make_module
from dqn_cli.agent.spaces import ONE_HOT, PICTURE, VECTOR, Part, Spaces

NUMBERS = Spaces((Part("", VECTOR, (4,), (-1.0,), (1.0,), False),), 2)
PICTURES = Spaces((Part("", PICTURE, (8, 8, 3), (0.0,), (255.0,), True),), 2)
CHOICES = Spaces((Part("", ONE_HOT, (5,), (0.0,), (1.0,), False),), 2)


def net(forward: Callable[[Any, Tensor], Any], *layers: nn.Module) -> type[nn.Module]:
    """A class with a linear layer and others, and this forward."""

    class Net(nn.Module):
        def __init__(self, observation_shape: tuple[int, ...]) -> None:
            super().__init__()
            self.linear = nn.Linear(observation_shape[0], 6)
            self.others = nn.ModuleList(deepcopy(layers))

        def forward(self, obs: Tensor) -> Any:
            return forward(self, obs)

    Net.__module__ = "nets"
    return Net


class NoSuper(nn.Module):
    def __init__(self, observation_shape: Any) -> None:
        pass


class FromNumpy(nn.Module):
    def __init__(self, observation_shape: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(np.random.rand(4, 2).astype(np.float32)))  # noqa: NPY002


class Plain(nn.Module):
    def __init__(self, observation_shape: Any) -> None:
        super().__init__()
        self.factor = torch.ones(4)


class Huge(nn.Module):
    def __init__(self, observation_shape: Any) -> None:
        super().__init__()
        self.register_buffer("number", torch.tensor([2**40]))


class Complex(nn.Module):
    def __init__(self, observation_shape: Any) -> None:
        super().__init__()
        self.turn = nn.Parameter(torch.ones(3, dtype=torch.complex64))


WRONG: dict[str, tuple[Any, str]] = {
    "a_function": (lambda shape: nn.Linear(4, 4), "must be a class of yours that extends torch"),
    "of_torch": (nn.Linear, "must be a class of yours that extends torch.nn.Module"),
    "no_super": (NoSuper, r"must call super"),
    "raises": (net(lambda self, x: x @ x), r"forward of 3 observations of shape \[4\] raised Runt"),
    "a_tuple": (net(lambda self, x: (self.linear(x),)), "returns tuple, and must return a tensor"),
    "one_axis": (net(lambda self, x: self.linear(x).sum(1)), r"returns shape \[3\] for 3 obs"),
    "wrong_batch": (net(lambda self, x: self.linear(x).mean(0, True)), r"returns shape \[1, 6\]"),
    "whole": (net(lambda self, x: self.linear(x).long()), "returns torch.int64"),
    "in_place": (net(lambda self, x: self.linear(x.mul_(2))), "changes its input in place"),
    "dropout": (
        net(lambda self, x: self.others[0](self.linear(x)), nn.Dropout(0.1)),
        r"others.0 is Dropout with p=0.1",
    ),
    "batch_norm": (
        net(lambda self, x: self.others[0](self.linear(x)), nn.BatchNorm1d(6)),
        r"forward changes others.0.running_mean, as BatchNorm does: use LayerNorm or GroupNorm",
    ),
    "rows_mixed": (
        net(lambda self, x: self.linear(x - x.mean(0))),
        "those of one must not depend on others in the batch",
    ),
    "random": (
        net(lambda self, x: self.linear(x) + torch.rand(6)),
        "it has random numbers or a state",
    ),
    "unused": (
        net(lambda self, x: self.linear(x), nn.Linear(4, 4)),
        r"features do not depend on others.0.weight, others.0.bias: use it or remove it",
    ),
    "detached": (net(lambda self, x: self.linear(x).detach()), "do not depend on linear.weight"),
    "from_numpy": (FromNumpy, "initial values of weight follow from no seed"),
    "plain": (Plain, "factor is a plain tensor: make it one by register_buffer"),
    "huge": (Huge, "number has whole numbers above 16777216"),
    "complex": (Complex, "turn has complex numbers"),
}
UNUSUAL: dict[str, type[nn.Module]] = {
    "lazy": net(lambda self, x: self.others[0](self.linear(x)), nn.LazyLinear(3)),
    "tied": net(lambda self, x: self.others[0](self.linear(x)), nn.Linear(6, 6)),
    "relu_in_place": net(lambda self, x: self.others[0](self.linear(x)), nn.ReLU(inplace=True)),
    "last_norm": net(lambda self, x: self.others[0](self.linear(x)), nn.LayerNorm(6)),
}


@pytest.fixture(autouse=True)
def nets(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("nets")
    vars(module).update({name: own for name, (own, _) in WRONG.items()} | UNUSUAL)
    monkeypatch.setitem(sys.modules, "nets", module)


@pytest.mark.parametrize("name", WRONG)
def test_a_module_that_is_no_pure_function_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(ValueError, match=WRONG[name][1]) as caught:
        checked_module(f"nets:{name}", {}, NUMBERS)
    assert str(caught.value).startswith(f"network.path=nets:{name}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", UNUSUAL)
def test_what_people_do_otherwise_is_allowed(name: str) -> None:
    checked = checked_module(f"nets:{name}", {}, NUMBERS)
    assert checked.features in (3, 6)
    assert checked_module(f"nets:{name}", {}, NUMBERS) is checked


def test_what_can_not_be_imported_or_made_says_so() -> None:
    with pytest.raises(ValueError, match=r"^network.path=no_such:Net: no_such can't be imported"):
        checked_module("no_such:Net", {}, NUMBERS)
    with pytest.raises(ValueError, match=r"^network.path=nets:Net: nets has no Net$"):
        checked_module("nets:Net", {}, NUMBERS)
    words = r"Small\(observation_shape, depth=3\) raised TypeError: .*'depth'"
    with pytest.raises(ValueError, match=words):
        checked_module("own_networks:Small", {"depth": 3}, NUMBERS)


def test_values_follow_from_the_seed() -> None:
    first, again, other = (
        make_module("own_networks:Small", {"width": 4}, PICTURES, seed).state_dict()
        for seed in (1, 1, 2)
    )
    assert first["first.weight"].shape == (4, 8 * 8 * 3)
    assert all(torch.equal(value, again[name]) for name, value in first.items())
    assert not torch.equal(first["first.weight"], other["first.weight"])


def test_modules_are_made_for_the_shape_of_observations() -> None:
    for spaces, size in ((NUMBERS, 4), (PICTURES, 192), (CHOICES, 5)):
        checked = checked_module("own_networks:Small", {}, spaces)
        assert checked.values["first.weight"].shape == (8, size)
        learning = ("first.weight", "first.bias", "second.weight", "second.bias")
        assert checked.learning == set(learning)
