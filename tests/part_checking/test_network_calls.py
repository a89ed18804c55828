from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from dqn_cli.agent.heads import Head
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.parameters import Layout, Parameter
from dqn_cli.agent.spaces import Spaces
from dqn_cli.part_checking.network_calls import check_network

PLAIN = ([6], False, False, False, False, 0.5)


def test_a_network_that_takes_numbers_has_no_problem() -> None:
    assert list(check_network(Mlp([6], True, False, True, True, 0.5))) == []


@dataclass
class Unused(Mlp):
    """A network with a parameter that it does not use."""

    def torso_layout(self, spaces: Spaces) -> tuple[Layout, int]:
        layout, features = super().torso_layout(spaces)
        return layout | {"spare": Parameter((3,), -1, 1)}, features


def test_parameters_that_are_not_used_are_named() -> None:
    (problem,) = check_network(Unused(*PLAIN))
    assert problem == "forward with Scalar does not use spare of its layout"


@dataclass
class Mixing(Mlp):
    """A network that looks at all observations of a batch."""

    def torso(self, p: Parameters, obs: Tensor, spaces: Spaces) -> Tensor:
        return super().torso(p, obs - obs.mean(0), spaces)


def test_rows_must_not_depend_on_each_other() -> None:
    (problem,) = check_network(Mixing(*PLAIN))
    assert "another z for an observation alone" in problem


@dataclass
class Wrong(Mlp):
    """A network that returns z of one action."""

    def forward(self, p: Parameters, obs: Tensor, spaces: Spaces, head: Head) -> Tensor:
        return super().forward(p, obs, spaces, head)[:, :1]


def test_z_has_a_row_for_each_action() -> None:
    (problem,) = check_network(Wrong(*PLAIN))
    assert problem == "forward with Scalar returns shape [4, 1, 1], and must return [4, 3, 1]"


@dataclass
class Unable(Mlp):
    """A network that refuses everything, or fails."""

    error: Any = ValueError

    def torso_layout(self, spaces: Spaces) -> tuple[Layout, int]:
        raise self.error("no music")


def test_a_network_that_takes_nothing_says_why() -> None:
    assert list(check_network(Unable(*PLAIN))) == [
        "it takes neither numbers nor pictures: no music"
    ]
    (problem,) = check_network(Unable(*PLAIN, KeyError))
    assert problem.endswith("raised KeyError: 'no music': a ValueError refuses spaces")
    assert torch.is_grad_enabled()
