from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import pytest
import torch
from conftest import NEEDED
from own_networks import Small
from torch import Tensor, nn

import dqn_cli
from dqn_cli.agent.categorical import C51
from dqn_cli.config import registry
from dqn_cli.config.paths import config_folder
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
GROUPS = ("head", "network", "update", "optimizer", "exploration", "target", "augment")
# One of each kind; a slow test has them all.
USUAL = ("head=iqn", "network=multi", "update=munchausen", "optimizer=adamw", "target=soft",
         "exploration=ladder", "exploration=boltzmann", "augment=shift")  # fmt: skip
ALL = [
    f"{group}={file.stem}"
    for group in GROUPS
    for file in sorted((config_folder() / group).glob("*.yaml"))
]
OTHERS = [pytest.param(choice, marks=pytest.mark.slow) for choice in sorted(set(ALL) - set(USUAL))]


@pytest.mark.parametrize("choice", [*USUAL, *OTHERS])
def test_nothing_is_wrong_with_parts_of_ours(settings_of: Compose, choice: str) -> None:
    settings = settings_of(choice, *NEEDED.get(choice, ()))
    assert dqn_cli.check_part(getattr(settings, choice.partition("=")[0])) == []


@dataclass
class OwnC51(C51):
    """A head whose support is that of the environment."""

    def edge_mass(self, target: Tensor) -> Tensor:
        return target[:, :1]


def test_a_class_has_the_values_that_it_was_registered_with() -> None:
    registry.register("head", "own_c51", OwnC51, like="c51")
    try:
        assert dqn_cli.check_part(OwnC51) == [
            "OwnC51: edge_mass(target) returns shape [4, 1], and must return [4]"
        ]
    finally:
        registry.unregister("head", "own_c51")


class Branching(Small):
    """A module that asks for a value."""

    def forward(self, obs: Tensor | dict[str, Tensor]) -> Tensor:
        x = super().forward(obs)
        return x if x.sum() > 0 else -x


def test_modules_are_checked_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert dqn_cli.check_part(Small) == []
    mine = ModuleType("mine")
    mine.__dict__["Branching"] = Branching
    monkeypatch.setattr(Branching, "__module__", "mine")
    monkeypatch.setitem(sys.modules, "mine", mine)
    (problem,) = dqn_cli.check_part(Branching)
    assert problem.startswith("OwnModule: forward with Scalar looks at the value of a tensor")


def test_what_is_no_part_is_refused() -> None:
    for wrong in (7, Settings, nn.Linear(2, 2)):
        with pytest.raises(TypeError, match="is no part that can be checked; these are: Head, Net"):
            dqn_cli.check_part(wrong)
    with pytest.raises(TypeError, match=r"^OwnC51.atoms has no value: register the class with lik"):
        dqn_cli.check_part(OwnC51)


def test_random_numbers_of_the_caller_go_on_as_before() -> None:
    torch.manual_seed(0)
    expected = torch.rand(())
    torch.manual_seed(0)
    dqn_cli.check_part(Small)
    assert torch.rand(()) == expected
