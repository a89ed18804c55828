"""`Members` maps one member's mathematics over all members."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import pytest
import torch
from array_spaces import array_spaces
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.atari_cnns import Nature
from dqn_cli.agent.categorical import C51
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.optimizers import Adam, Schedule, Sgd
from dqn_cli.agent.parameters import size
from dqn_cli.agent.table import Table
from dqn_cli.agent.update_rules import Dqn, Munchausen
from dqn_cli.training.population import Members, Population


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


SPACES = array_spaces((2,), (0, 0), (1, 1), 2, one_hot=True)
SGD = Sgd(9.0, Schedule.constant, 1.0, 9.0)
AGENT = Agent(SPACES, Table(2, None, None), Scalar(Loss.huber), Dqn(), SGD)
ADAM = Adam(1e-3, Schedule.constant, 1.0, 0.9, 0.999, 1e-8)
WAYS = pytest.mark.parametrize("vmaps", [True, False], ids=["mapped", "in turn"])
RATES, MOMENTA = [0.5, 2.0, 3.0], [0.0, 1.0, 0.25]


def mapped(method: Callable[..., Any], members: int, vmaps: bool) -> Callable[..., Any]:
    """Return a method of members that differ in learning rate and momentum."""
    scalars = {
        "optimizer.lr": torch.tensor(RATES[:members], dtype=torch.float64),
        "optimizer.momentum": torch.tensor(MOMENTA[:members], dtype=torch.float64),
    }
    function: Callable[..., Any] = Members(AGENT, scalars, members, vmaps)(method)
    return function


def line(agent: Agent, x: Tensor) -> Tensor:
    assert isinstance(agent.optimizer, Sgd)
    assert x.dim() == 1  # the mathematics of one member never sees the axis of members
    return agent.optimizer.lr * x + agent.optimizer.momentum


def nested(agent: Agent, pair: Pair, x: Tensor) -> tuple[Pair, Tensor]:
    return Pair(pair.second * agent.optimizer.lr, pair.first), x.sum()


@WAYS
@pytest.mark.parametrize("members", [1, 2, 3])
def test_each_member_computes_with_its_own_numbers(members: int, vmaps: bool) -> None:
    x = torch.tensor([[1.0, 2.0], [10.0, 20.0], [4.0, 8.0]], dtype=torch.float64)[:members]
    # 0.5 x + 0; 2 x + 1; 3 x + 0.25
    expected = [[0.5, 1.0], [21.0, 41.0], [12.25, 24.25]][:members]
    assert mapped(line, members, vmaps)(x).tolist() == expected


@WAYS
@pytest.mark.parametrize("members", [1, 3])
def test_tuples_go_in_and_come_out_with_a_leading_axis(members: int, vmaps: bool) -> None:
    pair = Pair(torch.ones(members, 4), torch.ones(members))
    x = torch.arange(6.0).view(3, 2)[:members]
    result, total = mapped(nested, members, vmaps)(pair, x)
    assert isinstance(result, Pair)
    assert result.first.tolist() == RATES[:members]
    assert result.second.tolist() == [[1.0] * 4] * members
    assert total.tolist() == [1.0, 5.0, 9.0][:members]


@WAYS
@pytest.mark.parametrize("members", [1, 3])
def test_numbers_in_float64_leave_tensors_in_float32(members: int, vmaps: bool) -> None:
    assert mapped(line, members, vmaps)(torch.ones(members, 2)).dtype == torch.float32


@WAYS
@pytest.mark.parametrize("members", [1, 3])
def test_gradients_flow_back_to_each_member(members: int, vmaps: bool) -> None:
    x = torch.ones(members, 2, dtype=torch.float64, requires_grad=True)
    mapped(line, members, vmaps)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[rate, rate] for rate in RATES[:members]]


@WAYS
@pytest.mark.parametrize("members", [1, 3])
def test_tuples_without_names_and_empty_tensors_pass_through(members: int, vmaps: bool) -> None:
    def swapped(agent: Agent, x: Tensor, none: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        assert none.shape == (0,)
        return none, (line(agent, x), x)

    x = torch.ones(members, 2, dtype=torch.float64)
    none, (computed, same) = mapped(swapped, members, vmaps)(x, torch.empty(members, 0))
    assert none.shape == (members, 0)
    assert computed.tolist() == [[0.5] * 2, [3.0] * 2, [3.25] * 2][:members]
    assert same.tolist() == x.tolist()


@pytest.mark.parametrize("members", [1, 2, 3])
def test_members_are_mapped_at_once_or_computed_in_turn(members: int) -> None:
    def counted(agent: Agent, x: Tensor) -> Tensor:
        shapes.append(x.shape)
        return line(agent, x)

    for vmaps, times in ((False, members), (True, 1)):
        shapes: list[torch.Size] = []
        mapped(counted, members, vmaps)(torch.ones(members, 4))
        assert shapes == [(4,)] * times


IMAGE = array_spaces((2, 8, 12), (0.0,), (255.0,), 3, frames=2)
NATURE = Nature([2], False, False, False, False, 0.5, [3], False)
MLP = Mlp([2], False, False, False, False, 0.5)


@pytest.mark.parametrize("members", [1, 2, 3])
@pytest.mark.parametrize(("network", "times"), [(NATURE, [1, 2, 3]), (MLP, [1, 1, 1])])
def test_a_population_computes_members_of_a_large_network_in_turn_and_others_at_once(
    monkeypatch: pytest.MonkeyPatch, members: int, network: Mlp, times: list[int]
) -> None:
    shapes: list[torch.Size] = []
    forward = Mlp.forward

    def counted(self: Mlp, p: Any, obs: Tensor, *parts: Any) -> Tensor:
        shapes.append(obs.shape)
        return forward(self, p, obs, *parts)

    monkeypatch.setattr(Mlp, "forward", counted)
    agents = [replace(AGENT, spaces=IMAGE, network=network)] * members
    population = Population(agents, torch.float64, torch.device("cpu"))
    parameters = torch.zeros(members, size(agents[0].layout), dtype=torch.float64)
    obs, nothing = torch.zeros(members, 5, *IMAGE.observation_shape), torch.zeros(members, 5, 0)
    population.act(parameters, population.scalars, obs, nothing, torch.zeros(members, 0))
    assert shapes == [(5, *IMAGE.observation_shape)] * times[members - 1]


def test_results_of_members_in_turn_stay_when_arguments_change() -> None:
    x = torch.ones(3, 2, dtype=torch.float64)
    same, computed = mapped(lambda agent, x: (x, line(agent, x)), 3, False)(x)
    x.zero_()
    assert same.tolist() == [[1.0] * 2] * 3
    assert computed.tolist() == [[0.5] * 2, [3.0] * 2, [3.25] * 2]


@WAYS
def test_each_member_has_its_own_numbers_in_every_part(vmaps: bool) -> None:
    network = Mlp([4], False, False, False, True, 0.5)
    agent = Agent(SPACES, network, C51(5, -1.0, 1.0), Munchausen(0.9, 0.03, -1.0), ADAM)
    assert set(agent.scalars) == {
        "network.sigma", "head.v_min", "head.v_max", "update.alpha", "update.temperature",
        "update.clip", "optimizer.lr", "optimizer.max_grad_norm", "optimizer.beta1",
        "optimizer.beta2", "optimizer.eps",
    }  # fmt: skip
    numbers = {key: torch.tensor([1.0, 2.0]) * (nth + 1) for nth, key in enumerate(agent.scalars)}

    def read(agent: Agent, x: Tensor) -> Tensor:
        assert agent.scalars == {}  # a tensor is no float
        keys = [key.split(".") for key in numbers]
        return torch.stack([getattr(getattr(agent, part), name) + 0 * x for part, name in keys])

    values = Members(agent, numbers, 2, vmaps)(read)(torch.zeros(2))
    counts = [nth + 1.0 for nth in range(len(numbers))]
    assert values.tolist() == [counts, [2 * count for count in counts]]
