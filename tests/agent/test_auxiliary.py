from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.auxiliary import Auxiliary, Cql, Margin, evaluate_parts
from dqn_cli.agent.batch import Batch, Following, RandomInputs
from dqn_cli.agent.categorical import C51
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.model import Model, NetworkOutputs
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.normalization import Normalization
from dqn_cli.agent.optimizers import OptimizerState, Schedule, Sgd
from dqn_cli.agent.parameters import Layout, Parameter, initial, size, views
from dqn_cli.agent.quantiles import Qr
from dqn_cli.agent.update_rules import Dqn

PLANE = array_spaces((2,), (-1, -1), (1, 1), 3)
MLP = Mlp([4], False, False, False, False, 0.5)
SCALAR = Scalar(Loss.squared)
SGD = Sgd(0.1, Schedule.constant, None, 0.5)
LN2 = math.log(2)


def batch_of(action: list[int], logged: list[bool], mask: list[list[bool]] | None = None) -> Batch:
    rows = len(action)
    ones = torch.ones(rows, dtype=torch.float64)
    obs = torch.linspace(-1, 1, 2 * rows, dtype=torch.float64).view(rows, 2)
    legal = torch.tensor(mask or [[True] * 3] * rows)
    return Batch(
        obs=obs,
        action=torch.tensor(action),
        mask=legal,
        reward=ones,
        discount=0.9 * ones,
        next_obs=obs.flip(0),
        next_mask=torch.ones_like(legal),
        weight=ones,
        logged=torch.tensor(logged),
        starts=torch.zeros(rows, dtype=torch.bool),
    )


def loss_of(part: Auxiliary, q: list[list[float]], batch: Batch, head: Head = SCALAR) -> Tensor:
    z = torch.tensor(q, dtype=torch.float64)[..., None]  # [batch, actions, 1]
    outputs = NetworkOutputs(z, z, z, lambda: z, lambda: z)
    loss = part.loss({}, Model(PLANE, MLP, head), outputs, batch)
    assert loss is not None
    return loss


def test_cql_is_the_soft_maximum_less_the_taken_value() -> None:
    # log(e^0 + e^0 + e^ln2) - 0 = log 4
    found = loss_of(Cql(1.0), [[0, 0, LN2]], batch_of([0], [False]))
    assert found.tolist() == pytest.approx([math.log(4)])


def test_cql_asks_legal_actions_alone_and_has_a_weight() -> None:
    batch = batch_of([0], [True], [[True, True, False]])
    assert loss_of(Cql(3.0), [[0, 0, 50]], batch).tolist() == pytest.approx([3 * LN2])


def test_cqls_gradient_is_the_softmax_less_the_action_taken() -> None:
    z = torch.tensor([[[0.0], [0.0], [LN2]]], dtype=torch.float64, requires_grad=True)
    outputs = NetworkOutputs(z, z, z, lambda: z, lambda: z)
    loss = Cql(1.0).loss({}, Model(PLANE, MLP, SCALAR), outputs, batch_of([0], [False]))
    assert loss is not None
    (gradient,) = torch.autograd.grad(loss.sum(), z)
    assert gradient.flatten().tolist() == pytest.approx([1 / 4 - 1, 1 / 4, 1 / 2])


@pytest.mark.parametrize(
    ("q", "expected"),
    [
        ([0.0, 2.0, 1.0], 0.5 * 2.8),  # another action's value, raised by the margin
        ([5.0, 2.0, 1.0], 0.0),  # better than all others by more than the margin
        ([2.5, 2.0, 1.0], 0.5 * 0.3),  # better, but not by the margin
    ],
)
def test_the_margin_is_that_of_dqfd(q: list[float], expected: float) -> None:
    found = loss_of(Margin(0.5, 0.8), [q], batch_of([0], [True]))
    assert found.tolist() == pytest.approx([expected])


def test_the_margin_is_for_logged_transitions_and_legal_actions() -> None:
    batch = batch_of([0, 0], [False, True], [[True, True, True], [True, False, True]])
    found = loss_of(Margin(1.0, 0.8), [[0, 2, 1], [0, 2, 1]], batch)
    assert found.tolist() == pytest.approx([0, 1.8])


@dataclass
class Memory(Auxiliary):
    """Learns one number of its own, keeps another, and pays a bonus."""

    pays: float = 0.25

    def layout(self, model: Model) -> Layout:
        return {"own": Parameter((1,), 2, 2)}

    def constants(self, model: Model) -> Layout:
        return {"seen": Parameter((1,), 0, 0)}

    def observe(self, p: Parameters, model: Model, obs: Tensor) -> Parameters:
        return {"seen": p["seen"] + obs.sum()}

    def loss(
        self, p: Parameters, model: Model, outputs: NetworkOutputs, batch: Batch
    ) -> Tensor | None:
        assert "advantage.out.bias" in p, "the network's parameters are at hand"
        return p["own"].square().expand(len(batch.action))

    def bonus(self, p: Parameters, model: Model, batch: Batch) -> Tensor | None:
        return self.pays + 0 * batch.reward


def agent_of(normalization: Normalization = Normalization.none, **parts: Auxiliary) -> Agent:
    return Agent(PLANE, MLP, SCALAR, Dqn(), SGD, normalization, parts)


def start(agent: Agent) -> Tensor:
    return initial(agent.layout, np.random.default_rng(0))


def nothing_random(rows: int) -> RandomInputs:
    return RandomInputs(
        torch.zeros(2, rows, 0, dtype=torch.float64), torch.zeros(3, 0, dtype=torch.float64)
    )


def test_the_network_of_an_agent_with_parts_computes_what_it_does_alone() -> None:
    alone, agent = agent_of(), agent_of(Normalization.running, memory=Memory())
    parameters, obs = start(agent), torch.ones(5, 2, dtype=torch.float64)
    (of_network,) = (size(alone.layout),)
    assert agent.of_model(parameters)[:of_network].equal(parameters[:of_network])
    nothing = torch.zeros(5, 0, dtype=torch.float64)
    expected = alone.act(parameters[:of_network], obs, nothing, nothing[0])[0]
    assert agent.act(parameters, obs, nothing, nothing[0])[0].equal(expected)


def test_losses_are_added_and_bonuses_are_rewards() -> None:
    batch = batch_of([0, 1], [False, True])
    alone, agent = agent_of(), agent_of(memory=Memory(), more=Memory(0.5), cql=Cql(2.0))
    parameters = start(agent)
    own = agent.of_model(parameters)
    paid = batch._replace(reward=batch.reward + 0.75)
    td_loss, metrics, *_ = alone.loss(own, own, paid, nothing_random(2))
    loss, with_parts, *_ = agent.loss(parameters, parameters, batch, nothing_random(2))
    q = alone.model.q(own, batch.obs, own[:0])
    cql = 2 * (q.logsumexp(1) - q.gather(1, batch.action[:, None])[:, 0]).mean()
    torch.testing.assert_close(loss, td_loss + 4 + 4 + cql)
    torch.testing.assert_close(with_parts.loss, metrics.loss)
    torch.testing.assert_close(with_parts.auxiliary_loss, 8 + cql.detach())
    assert with_parts.bonus == 0.75
    assert metrics.auxiliary_loss == metrics.bonus == 0


def test_rows_without_a_transition_do_not_count() -> None:
    batch = batch_of([0, 1], [True, True])
    agent = agent_of(cql=Cql(1.0))
    parameters = start(agent)
    one = batch._replace(weight=torch.tensor([1.0, 0.0], dtype=torch.float64))
    first = Batch(*(values[:1] for values in batch))
    found = agent.loss(parameters, parameters, one, nothing_random(2))[1].auxiliary_loss
    expected = agent.loss(parameters, parameters, first, nothing_random(1))[1].auxiliary_loss
    torch.testing.assert_close(found, expected)


def test_constants_are_neither_learned_nor_decayed_and_change_by_observing() -> None:
    agent = agent_of(Normalization.running, memory=Memory())
    parameters, names = start(agent), list(agent.layout)
    assert names[-3:] == ["auxiliary.memory.seen", "normalization.offset", "normalization.factor"]
    state = OptimizerState(parameters, (0 * parameters,), parameters.new_zeros(1))
    ones = torch.ones_like(parameters)
    moved = agent.step(state, ones, ones[0])[0].parameters
    assert moved[-5:].equal(parameters[-5:])
    assert (moved[:-5] != parameters[:-5]).all()
    seen = agent.observe(parameters, torch.ones(3, 2, dtype=torch.float64))
    assert seen.tolist() == [6, 0, 0, 1, 1]


def test_numbers_of_parts_can_be_swept() -> None:
    agent = agent_of(cql=Cql(2.0), memory=Memory())
    assert {"auxiliary.cql.weight": 2.0, "auxiliary.memory.pays": 0.25}.items() <= (
        agent.scalars.items()
    )
    other = agent.with_scalars({"auxiliary.cql.weight": 5.0})
    assert other.auxiliary == {"cql": Cql(5.0), "memory": Memory()}
    assert replace(other, auxiliary=agent.auxiliary) == agent


@pytest.mark.parametrize("head", [SCALAR, Qr(5), C51(7, -2.0, 2.0)], ids=["scalar", "qr", "c51"])
def test_every_head_has_values_for_cql(head: Head) -> None:
    agent = Agent(PLANE, MLP, head, Dqn(), SGD, auxiliary={"cql": Cql(1.0)})
    parameters, batch = start(agent).requires_grad_(), batch_of([0, 1], [True, True])
    loss, metrics, *_ = agent.loss(parameters, parameters.detach(), batch, nothing_random(2))
    (gradient,) = torch.autograd.grad(loss, parameters)
    assert gradient.abs().max() > 0
    assert metrics.auxiliary_loss > 0


def test_losses_on_what_follows_get_normalized_observations_whatever_a_loss_needs() -> None:
    class Later(Auxiliary):
        needs_observations = False
        following = 1  # type: ignore[assignment]

        def following_loss(
            self,
            p: Parameters,
            target: Parameters,
            model: Model,
            batch: Batch,
            following: Following,
        ) -> Tensor | None:
            return batch.obs.sum(1) - following.obs.sum((1, 2))

    spaces = array_spaces((2,), (0, 0), (4, 4), 3)
    model = Model(spaces, MLP, SCALAR, Normalization.bounds)
    p = views(initial(model.layout, np.random.default_rng(0)), model.layout)
    batch, z = batch_of([0, 1], [False, False]), torch.zeros(2, 3, 1, dtype=torch.float64)
    following = Following(batch.obs[:, None] + 4, batch.action[:, None], batch.starts[:, None])
    outputs = NetworkOutputs(z, z, z, lambda: z, lambda: z)
    found = evaluate_parts({"later": Later()}, p, p, model, outputs, batch, following)
    # Both numbers of an observation become (x - 2) / 2, and those of what follows are 4 larger.
    assert found.losses is not None
    assert found.losses.tolist() == pytest.approx([-4, -4])
    assert found.bonus is None
