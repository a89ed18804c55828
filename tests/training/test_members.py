from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.atari_cnns import Nature
from dqn_cli.agent.categorical import C51
from dqn_cli.agent.clock import Unit
from dqn_cli.agent.exploration import Boltzmann, Exploration, Linear, Noisy, Piecewise
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.optimizers import Adam, Schedule, Sgd
from dqn_cli.agent.spaces import Spaces
from dqn_cli.agent.table import Table
from dqn_cli.agent.update_rules import Dqn, Munchausen
from dqn_cli.replay.prioritised import Prioritised, Priority
from dqn_cli.replay.samplers import ReplayDevice
from dqn_cli.training.members import merge_parts, per_member


class Pair(NamedTuple):
    first: Tensor
    second: Tensor


SPACES = Spaces((2,), (0, 0), (1, 1), True, (2,), (0,), False, 0)
AGENT = Agent(
    SPACES, Table(2, None, None), Scalar(), Dqn(Loss.huber, 1.0), Sgd(9.0, Schedule.constant, 9.0)
)
ADAM = Adam(1e-3, Schedule.constant, 0.9, 0.999, 1e-8)
LARGE = replace(AGENT, network=Nature([2], False, False, False, False, 0.5, [3], False))
WAYS = pytest.mark.parametrize("agent", [AGENT, LARGE], ids=["mapped", "in turn"])
RATES, MOMENTA = [0.5, 2.0, 3.0], [0.0, 1.0, 0.25]


def scalars(members: int) -> dict[str, Tensor]:
    return {
        "optimizer.lr": torch.tensor(RATES[:members], dtype=torch.float64),
        "optimizer.momentum": torch.tensor(MOMENTA[:members], dtype=torch.float64),
    }


def line(agent: Agent, x: Tensor) -> Tensor:
    assert isinstance(agent.optimizer, Sgd)
    assert x.dim() == 1  # the mathematics of one member never sees the axis of members
    return agent.optimizer.lr * x + agent.optimizer.momentum


def nested(agent: Agent, pair: Pair, x: Tensor) -> tuple[Pair, Tensor]:
    return Pair(pair.second * agent.optimizer.lr, pair.first), x.sum()


@WAYS
@pytest.mark.parametrize("members", [1, 2, 3])
def test_each_member_computes_with_its_own_numbers(members: int, agent: Agent) -> None:
    x = torch.tensor([[1.0, 2.0], [10.0, 20.0], [4.0, 8.0]], dtype=torch.float64)[:members]
    # 0.5 x + 0; 2 x + 1; 3 x + 0.25
    expected = [[0.5, 1.0], [21.0, 41.0], [12.25, 24.25]][:members]
    assert per_member(agent, scalars(members), line)(x).tolist() == expected


@WAYS
@pytest.mark.parametrize("members", [1, 3])
def test_tuples_go_in_and_come_out_with_a_leading_axis(members: int, agent: Agent) -> None:
    pair = Pair(torch.ones(members, 4), torch.ones(members))
    x = torch.arange(6.0).view(3, 2)[:members]
    result, total = per_member(agent, scalars(members), nested)(pair, x)
    assert isinstance(result, Pair)
    assert result.first.tolist() == RATES[:members]
    assert result.second.tolist() == [[1.0] * 4] * members
    assert total.tolist() == [1.0, 5.0, 9.0][:members]


@WAYS
@pytest.mark.parametrize("members", [1, 3])
def test_numbers_in_float64_leave_tensors_in_float32(members: int, agent: Agent) -> None:
    x = torch.ones(members, 2)
    assert per_member(agent, scalars(members), line)(x).dtype == torch.float32


@WAYS
@pytest.mark.parametrize("members", [1, 3])
def test_gradients_flow_back_to_each_member(members: int, agent: Agent) -> None:
    x = torch.ones(members, 2, dtype=torch.float64, requires_grad=True)
    per_member(agent, scalars(members), line)(x).sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == [[rate, rate] for rate in RATES[:members]]


@WAYS
@pytest.mark.parametrize("members", [1, 3])
def test_tuples_without_names_and_empty_tensors_pass_through(members: int, agent: Agent) -> None:
    def swapped(agent: Agent, x: Tensor, none: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        assert none.shape == (0,)
        return none, (line(agent, x), x)

    x = torch.ones(members, 2, dtype=torch.float64)
    function = per_member(agent, scalars(members), swapped)
    none, (computed, same) = function(x, torch.empty(members, 0))
    assert none.shape == (members, 0)
    assert computed.tolist() == [[0.5] * 2, [3.0] * 2, [3.25] * 2][:members]
    assert same.tolist() == x.tolist()


@pytest.mark.parametrize("members", [1, 2, 3])
def test_members_of_a_large_network_are_computed_in_turn_and_others_at_once(members: int) -> None:
    def counted(agent: Agent, x: Tensor) -> Tensor:
        shapes.append(x.shape)
        return line(agent, x)

    for agent, times in ((LARGE, members), (AGENT, 1)):
        shapes: list[torch.Size] = []
        per_member(agent, scalars(members), counted)(torch.ones(members, 4))
        assert shapes == [(4,)] * times


def test_what_several_members_gave_in_turn_stays_when_arguments_change() -> None:
    x = torch.ones(3, 2, dtype=torch.float64)
    same, computed = per_member(LARGE, scalars(3), lambda agent, x: (x, line(agent, x)))(x)
    x.zero_()
    assert same.tolist() == [[1.0] * 2] * 3
    assert computed.tolist() == [[0.5] * 2, [3.0] * 2, [3.25] * 2]


def test_each_member_has_its_own_numbers_in_every_part() -> None:
    network = Mlp([4], False, False, False, True, 0.5)
    agent = Agent(
        SPACES, network, C51(5, -1.0, 1.0), Munchausen(Loss.huber, 1.0, 0.9, 0.03, -1.0), ADAM
    )
    assert set(agent.scalars) == {
        "network.sigma", "head.v_min", "head.v_max", "update.max_grad_norm", "update.alpha",
        "update.temperature", "update.clip", "optimizer.lr", "optimizer.beta1", "optimizer.beta2",
        "optimizer.eps",
    }  # fmt: skip
    own = {key: torch.tensor([1.0, 2.0]) * (nth + 1) for nth, key in enumerate(agent.scalars)}

    def told(agent: Agent, x: Tensor) -> Tensor:
        numbers = agent.scalars  # a tensor is no float
        assert numbers == {}
        parts = {part: getattr(agent, part) for part in ("network", "head", "update", "optimizer")}
        keys = [key.split(".") for key in own]
        return torch.stack([getattr(parts[part], name) + 0 * x for part, name in keys])

    found = per_member(agent, own, told)(torch.zeros(2))
    counts = [nth + 1.0 for nth in range(len(own))]
    assert found.tolist() == [counts, [2 * count for count in counts]]


def test_parts_that_agree_are_merged_into_one_of_them() -> None:
    parts = [Boltzmann(0.5), Boltzmann(0.5)]
    assert merge_parts(parts) is parts[0]
    assert merge_parts(parts[:1]) is parts[0]
    assert merge_parts([Noisy()] * 3) == Noisy()


def test_numbers_that_differ_become_a_column_and_the_others_stay() -> None:
    first = Prioritised(100, 32, 3, ReplayDevice.cpu, 0.6, 0.4, 1.0, Priority.loss, 1e-6)
    second = Prioritised(100, 32, 3, ReplayDevice.cpu, 0.5, 0.4, 0.9, Priority.loss, 1e-6)
    found = merge_parts([first, second, first])
    assert (found.alpha.tolist(), found.beta_end.tolist()) == (  # type: ignore[attr-defined]
        [[0.6], [0.5], [0.6]],
        [[1.0], [0.9], [1.0]],
    )
    kept = ("capacity", "batch_size", "n_step", "beta", "priority", "eps")
    assert all(getattr(found, name) is getattr(first, name) for name in kept)
    assert (first.alpha, second.alpha) == (0.6, 0.5)


@pytest.mark.parametrize(
    "parts",
    [
        [Linear(Unit.steps, 1.0, 0.1, 0.5), Linear(Unit.episodes, 1.0, 0.2, 30.0)],
        [Piecewise(Unit.steps, [[0, 1.0], [9, 0.1]]), Piecewise(Unit.steps, [[0, 1.0], [9, 0.2]])],
        [Piecewise(Unit.steps, [[0, 1.0], [9, 0.1]]), Piecewise(Unit.updates, [[0, 0.5]])],
    ],
    ids=["linear", "piecewise", "piecewise of other lengths"],
)
def test_schedules_that_differ_in_anything_are_merged_into_one_that_prefers_the_same(
    parts: list[Exploration],
) -> None:
    q = np.array([[[1.0, -np.inf, 2.0]], [[1.0, 3.0, 2.0]]])
    assert merge_parts(parts).preferred(q, np.zeros((2, 1))).tolist() == [[2], [1]]


def test_temperatures_that_differ_are_each_members_own() -> None:
    # exp(1 / 0.5) / (1 + exp(1 / 0.5)) = 0.881 and exp(1 / 2) / (1 + exp(1 / 2)) = 0.622
    q = np.array([[[0.0, 1.0]] * 4] * 2)
    uniform = np.array([[0.11, 0.13, 0.37, 0.39]] * 2)
    preferred = merge_parts([Boltzmann(0.5), Boltzmann(2.0)]).preferred(q, uniform)
    assert preferred.tolist() == [[0, 1, 1, 1], [0, 0, 0, 1]]
