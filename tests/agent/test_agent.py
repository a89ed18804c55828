from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from array_spaces import array_spaces
from oriented import matrix
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.batch import Batch, RandomInputs, Sequences
from dqn_cli.agent.categorical import C51
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.networks import Mlp, Network
from dqn_cli.agent.optimizers import Adam, OptimizerState, RmsProp, Schedule, Sgd
from dqn_cli.agent.parameters import size, views
from dqn_cli.agent.quantiles import Iqn, Qr
from dqn_cli.agent.recurrent import Gru, Lstm
from dqn_cli.agent.sequences import sequence_errors
from dqn_cli.agent.spaces import Spaces
from dqn_cli.agent.table import Table
from dqn_cli.agent.update_rules import Double, Dqn, Munchausen, UpdateRule

ONE_HOT = array_spaces((2,), (0, 0), (1, 1), 2, one_hot=True)
PLANE = array_spaces((2,), (-9, -9), (9, 9), 3)
# Two states of two actions each: the networks disagree about the best action in state 1.
ONLINE = torch.tensor([1.0, 2.0, 5.0, 1.0], dtype=torch.float64)
TARGET = torch.tensor([0.0, 0.0, 3.0, 4.0], dtype=torch.float64)
ADAM = Adam(1e-3, Schedule.constant, None, 0.9, 0.999, 1e-8)
HUBER, SQUARED = Scalar(Loss.huber), Scalar(Loss.squared)


def soft(temperature: float, clip: float) -> Munchausen:
    return Munchausen(0.9, temperature, clip)


def agent(
    update: UpdateRule,
    network: Network | None = None,
    spaces: Spaces = ONE_HOT,
    head: Head = HUBER,
) -> Agent:
    return Agent(spaces, network or Table(2, None, None), head, update, ADAM)


def transitions(
    discount: list[float], weight: list[float], legal: tuple[bool, bool] = (True, True)
) -> Batch:
    """From state 0 action 1 led with a reward of 0.5 to state 1, once for each discount."""
    batch = len(discount)
    state = torch.eye(2, dtype=torch.float64)
    return Batch(
        obs=state[[0] * batch],
        action=torch.tensor([1] * batch),
        mask=torch.ones(batch, 2, dtype=torch.bool),
        reward=torch.tensor([0.5] * batch, dtype=torch.float64),
        discount=torch.tensor(discount, dtype=torch.float64),
        next_obs=state[[1] * batch],
        next_mask=torch.tensor([legal] * batch),
        weight=torch.tensor(weight, dtype=torch.float64),
        logged=torch.zeros(batch, dtype=torch.bool),
        starts=torch.zeros(batch, dtype=torch.bool),
    )


def random_inputs(learner: Agent, rows: int) -> RandomInputs:
    random = np.random.default_rng(9)
    taus = torch.from_numpy(random.random((2, rows, learner.head.samples)))
    return RandomInputs(taus, torch.from_numpy(random.normal(size=(3, learner.model.noise_size))))


# Munchausen's soft value of [3, 4] at temperature 1: 4 + ln(1 + 1 / e) = 4.3133.
SOFT_VALUE = 4 + math.log1p(math.exp(-1))


@pytest.mark.parametrize(
    ("head", "update", "discount", "legal", "expected"),
    [
        # DQN bootstraps from max(3, 4) = 4: 0.5 + 0.9 * 4 = 4.1, 2.1 above z = 2.
        (SQUARED, Dqn(), 0.9, (True, True), 4.41),
        (HUBER, Dqn(), 0.9, (True, True), 1.6),
        # Double takes the online network's first action, worth 3: 3.2, an error of 1.2.
        (SQUARED, Double(), 0.9, (True, True), 1.44),
        (HUBER, Double(), 0.9, (True, True), 0.7),
        # Terminated: 0.5 alone, an error of -1.5.
        (SQUARED, Dqn(), 0.0, (True, True), 2.25),
        (HUBER, Double(), 0.0, (True, True), 1.0),
        # Three steps: 0.5 + 0.729 * 4 = 3.416, an error of 1.416.
        (HUBER, Dqn(), 0.729, (True, True), 0.916),
        # Only the first action is legal, worth 3; only the second, worth 4.
        (SQUARED, Dqn(), 0.9, (True, False), 1.44),
        (SQUARED, Double(), 0.9, (False, True), 4.41),
        # The target's two actions in state 0 are equally good: a bonus of 0.9 * -ln 2 = -0.6238.
        (SQUARED, soft(1, -1), 0.9, (True, True), (0.9 * (SOFT_VALUE - math.log(2)) - 1.5) ** 2),
        (SQUARED, soft(1, -1), 0.0, (True, True), (-0.9 * math.log(2) - 1.5) ** 2),
        # ... clipped: 0.5 - 0.9 * 0.5 = 0.05; a single legal action is worth what it is.
        (SQUARED, soft(1, -0.5), 0.9, (True, False), 0.5625),  # 0.05 + 2.7 = 2.75: an error of 0.75
        (SQUARED, soft(1, -0.5), 0.0, (True, True), 3.8025),  # 0.05, an error of -1.95
        # Without a bonus (clip 0) and at no temperature to speak of it is DQN.
        (SQUARED, soft(1e-3, 0.0), 0.9, (True, True), 4.41),
    ],
)
def test_the_loss_of_one_transition(
    head: Head, update: UpdateRule, discount: float, legal: tuple[bool, bool], expected: float
) -> None:
    learner = agent(update, head=head)
    batch = transitions([discount], [1.0], legal)
    loss, metrics, errors, _ = learner.loss(ONLINE, TARGET, batch, random_inputs(learner, 1))
    assert loss.item() == pytest.approx(expected)
    assert metrics.loss.item() == loss.item()
    assert errors.loss.tolist() == [loss.item()]


def test_the_bonus_is_for_the_action_taken_among_the_legal_ones() -> None:
    learner = agent(soft(1.0, -9.0))
    batch = transitions([0.0, 0.0], [1.0, 1.0])
    batch = batch._replace(
        obs=batch.next_obs,
        action=torch.tensor([0, 1]),
        mask=torch.tensor([[True, True], [False, True]]),
    )
    _, _, errors, _ = learner.loss(ONLINE, TARGET, batch, random_inputs(learner, 2))
    # In state 1 the target has [3, 4] and log pi of its first action is 3 - 4.3133 = -1.3133; the
    # other action is certain where nothing else is legal. The online network has [5, 1].
    first = 0.5 + 0.9 * (3 - SOFT_VALUE)
    assert errors.td_error.tolist() == pytest.approx([5 - first, 0.5])


def test_weights_multiply_each_samples_loss_outside_the_robust_loss() -> None:
    learner, batch = agent(Dqn()), transitions([0.9, 0.0], [3.0, 0.5])
    loss, *_ = learner.loss(ONLINE, TARGET, batch, random_inputs(learner, 2))
    assert loss.item() == pytest.approx(2.65)  # (3 * 1.6 + 0.5 * 1.0) / 2


def test_metrics_are_unweighted_means_over_the_batch() -> None:
    learner, batch = agent(Dqn()), transitions([0.9, 0.0], [3.0, 0.5])
    _, metrics, *_ = learner.loss(ONLINE, TARGET, batch, random_inputs(learner, 2))
    assert metrics.q_mean.item() == pytest.approx(2.0)
    assert metrics.td_error.item() == pytest.approx(1.8)  # (2.1 + 1.5) / 2
    assert metrics.edge_mass.item() == 0
    assert metrics.gradient_norm.item() == 0  # nothing is known of it yet


def test_metrics_leave_out_rows_without_weight() -> None:
    learner, batch = agent(Dqn()), transitions([0.9, 0.0, 0.0], [3.0, 0.0, 0.5])
    batch.action[1] = 0  # a q of 1 instead of 2
    loss, metrics, *_ = learner.loss(ONLINE, TARGET, batch, random_inputs(learner, 3))
    assert loss.item() == pytest.approx(5.3 / 3)  # 3 * 1.6 + 0 + 0.5 * 1.0, over all rows
    assert metrics.q_mean.item() == pytest.approx(2.0)
    assert metrics.td_error.item() == pytest.approx(1.8)


def test_errors_are_each_samples_own_loss_and_td_error_without_weights() -> None:
    learner, batch = agent(Dqn()), transitions([0.9, 0.0], [3.0, 0.5])
    _, _, errors, _ = learner.loss(ONLINE, TARGET, batch, random_inputs(learner, 2))
    assert errors.loss.tolist() == pytest.approx([1.6, 1.0])
    assert errors.td_error.tolist() == pytest.approx([2.1, 1.5])


@pytest.mark.parametrize(
    ("reward", "expected", "td_error", "edge_mass"),
    [
        (1.0, math.log(2), 0.5, 1.0),  # all on the last of the returns 0 and 1: 1 ln(1 / 0.5)
        (0.5, 0.0, 0.0, 1.0),  # half and half, as predicted
        (7.0, math.log(2), 0.5, 1.0),  # beyond the support is at its edge
        (0.25, 0.75 * math.log(1.5) + 0.25 * math.log(0.5), 0.25, 1.0),
    ],
)
def test_a_categorical_loss_by_hand(
    reward: float, expected: float, td_error: float, edge_mass: float
) -> None:
    learner = agent(Dqn(), head=C51(2, 0.0, 1.0))
    batch = transitions([0.0], [1.0])._replace(reward=torch.tensor([reward], dtype=torch.float64))
    logits = torch.zeros(8, dtype=torch.float64)  # two equally likely returns everywhere
    loss, metrics, errors, _ = learner.loss(logits, logits, batch, random_inputs(learner, 1))
    assert loss.item() == pytest.approx(expected, abs=1e-12)
    assert metrics.q_mean.item() == 0.5
    assert metrics.edge_mass.item() == pytest.approx(edge_mass)
    assert errors.td_error.tolist() == pytest.approx([td_error])


def test_edge_mass_is_the_targets() -> None:
    learner = agent(Dqn(), head=C51(3, 0.0, 2.0))
    batch = transitions([0.0, 0.0], [1.0, 1.0])
    batch = batch._replace(reward=torch.tensor([1.0, 1.75], dtype=torch.float64))
    logits = torch.zeros(12, dtype=torch.float64)
    _, metrics, *_ = learner.loss(logits, logits, batch, random_inputs(learner, 2))
    assert metrics.edge_mass.item() == 0.375  # (0 + 0.75) / 2


def test_a_quantile_loss_by_hand() -> None:
    learner = agent(Dqn(), head=Qr(2))
    online = torch.tensor([0.0, 0, 1, 3, 0, 0, 0, 0], dtype=torch.float64)
    target = torch.tensor([0.0, 0, 0, 0, 2, 4, 1, 1], dtype=torch.float64)
    batch = transitions([0.0, 0.5], [1.0, 2.0])
    loss, metrics, errors, _ = learner.loss(online, target, batch, random_inputs(learner, 2))
    # Levels 0.25 and 0.75; quantiles 1 and 3.
    # Terminated: both targets are 0.5, the errors -0.5 and -2.5, of Huber losses 0.125 and 2:
    # 0.75 * 0.125 + 0.25 * 2 = 0.59375.
    # Else 0.5 + 0.5 * [2, 4] = [1.5, 2.5], by the first action, which is worth 3. Errors of the
    # first quantile: 0.5 and 1.5, 0.25 * (0.125 + 1) / 2; of the second: -1.5 and -0.5,
    # 0.25 * (1 + 0.125) / 2; together 0.28125.
    assert errors.loss.tolist() == pytest.approx([0.59375, 0.28125])
    assert errors.td_error.tolist() == pytest.approx([1.5, 0.0])
    assert loss.item() == pytest.approx((0.59375 + 2 * 0.28125) / 2)
    assert metrics.q_mean.item() == 2


@pytest.mark.parametrize(("kind", "slope"), [(Loss.squared, -4.2), (Loss.huber, -1.0)])
def test_only_the_taken_action_learns_and_targets_are_constants(kind: Loss, slope: float) -> None:
    online, target = ONLINE.clone().requires_grad_(), TARGET.clone().requires_grad_()
    learner = agent(Dqn(), head=Scalar(kind))
    batch = transitions([0.9], [1.0])
    loss, metrics, errors, _ = learner.loss(online, target, batch, random_inputs(learner, 1))
    loss.backward()
    assert online.grad is not None
    # squared: 2 * (2 - 4.1); Huber's slope beyond an error of 1 is 1
    assert online.grad.tolist() == pytest.approx([0, slope, 0, 0])
    assert target.grad is None
    assert not any(each.requires_grad for each in (*metrics, *errors))


@pytest.mark.parametrize("head", [HUBER, Qr(2), C51(3, -1.0, 1.0)])
def test_where_the_reward_is_the_whole_return_nothing_is_bootstrapped(head: Head) -> None:
    learner = agent(Dqn(), head=head)
    online, target = (
        torch.from_numpy(np.random.default_rng(seed).normal(size=size(learner.layout)))
        for seed in (1, 2)
    )
    batch = transitions([0.0, 0.0], [1.0, 2.0])
    whole = batch._replace(next_obs=batch.obs.new_zeros(2, 0))
    expected = learner.loss(online, target, batch, random_inputs(learner, 2))
    for ours, theirs in zip(
        learner.loss(online, target, whole, random_inputs(learner, 2)), expected, strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def random_batch(rows: int) -> Batch:
    random = np.random.default_rng(5)
    return Batch(
        obs=torch.from_numpy(random.normal(size=(rows, 2))),
        action=torch.from_numpy(random.integers(3, size=rows)),
        mask=torch.ones(rows, 3, dtype=torch.bool),
        reward=torch.from_numpy(random.normal(size=rows) * 2),
        discount=torch.from_numpy(random.choice([0.0, 0.9, 0.81], rows)),
        next_obs=torch.from_numpy(random.normal(size=(rows, 2))),
        next_mask=torch.from_numpy(random.random((rows, 3)) < 0.6) | (torch.arange(3) == 0),
        weight=torch.from_numpy(random.uniform(0.2, 2.0, rows)),
        logged=torch.zeros(rows, dtype=torch.bool),
        starts=torch.zeros(rows, dtype=torch.bool),
    )


def random_sequences(rows: int, burn_in: int, length: int, steps: int, state: int) -> Sequences:
    random = np.random.default_rng(6)
    time, slots = (rows, burn_in + length + steps), (rows, length)
    legal = torch.from_numpy(random.random((2, *slots, 3)) < 0.6) | (torch.arange(3) == 0)
    action = torch.from_numpy(random.integers(3, size=slots))
    return Sequences(
        obs=torch.from_numpy(random.normal(size=(*time, 2))),
        state=torch.from_numpy(random.normal(size=(rows, state))),
        starts=torch.from_numpy(random.random(time) < 0.3),
        action=action,
        mask=legal[0].scatter(2, action[..., None], True),
        reward=torch.from_numpy(random.normal(size=slots) * 2),
        discount=torch.from_numpy(random.choice([0.0, 0.9, 0.81], slots)),
        ahead=torch.from_numpy(random.integers(1, steps + 1, slots)),
        next_mask=legal[1],
        weight=torch.from_numpy(random.choice([0.0, 0.7, 1.6], slots)),
        logged=torch.zeros(slots, dtype=torch.bool),
    )


def assert_gradient_is_that_of_finite_differences(
    learner: Agent, batch: Batch | Sequences, rows: int
) -> None:
    numbers, random = size(learner.layout), random_inputs(learner, rows)
    parameters, target = (
        torch.from_numpy(np.random.default_rng(seed).normal(0, 0.5, numbers)) for seed in (1, 2)
    )

    def loss(at: Tensor) -> Tensor:
        return learner.loss(at, target, batch, random)[0]

    parameters.requires_grad_()
    # fast: along one random direction, in which each parameter has its share
    assert torch.autograd.gradcheck(loss, (parameters,), fast_mode=True)
    (gradient,) = torch.autograd.grad(loss(parameters), parameters)
    assert gradient.abs().max() > 0.01


RULES = [Dqn(), Double(), Munchausen(0.9, 0.3, -1.0)]
HEADS = [HUBER, C51(5, -3.0, 3.0), Qr(3), Iqn(3, 4)]


@pytest.mark.parametrize("update", RULES)
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    "network",
    [
        Mlp([5, 4], False, False, False, False, 0.5),
        Mlp([4, 3], True, False, True, True, 0.5),
    ],
)
def test_the_gradient_of_the_loss_is_that_of_finite_differences(
    network: Network, head: Head, update: UpdateRule
) -> None:
    learner = agent(update, network, PLANE, head)
    assert_gradient_is_that_of_finite_differences(learner, random_batch(12), 12)


@pytest.mark.parametrize("rule", [Dqn, Double])
def test_the_gradient_of_the_squared_loss_is_that_of_finite_differences(
    rule: type[Dqn | Double],
) -> None:
    network = Mlp([5], False, False, True, False, 0.5)
    learner = agent(rule(), network, PLANE, SQUARED)
    assert_gradient_is_that_of_finite_differences(learner, random_batch(12), 12)


@pytest.mark.parametrize("update", RULES)
@pytest.mark.parametrize("head", HEADS)
def test_the_gradient_along_sequences_is_that_of_finite_differences(
    head: Head, update: UpdateRule
) -> None:
    # Without burn-in, whose part of the gradient is left out on purpose.
    network = Gru([3, 3], False, False, True, False, 0.5, [], 4, 2, 0, 3)
    batch = random_sequences(4, 0, 3, 2, 2)
    learner = agent(update, network, PLANE, head)
    assert_gradient_is_that_of_finite_differences(learner, batch, 4 * 5)


@pytest.mark.parametrize("update", RULES)
@pytest.mark.parametrize("head", HEADS[:3])
@pytest.mark.parametrize("kind", [Gru, Lstm])
def test_sequences_of_one_step_episodes_are_a_batch_of_their_slots(
    kind: type[Gru | Lstm], head: Head, update: UpdateRule
) -> None:
    learner = agent(
        update, kind([4, 3], False, False, True, False, 0.5, [], 4, 3, 2, 4), PLANE, head
    )
    sample = random_sequences(5, 2, 4, 2, learner.model.state_size)
    sample = sample._replace(starts=torch.ones_like(sample.starts))
    online, target = (
        torch.from_numpy(np.random.default_rng(seed).normal(0, 0.5, size(learner.layout)))
        for seed in (1, 2)
    )
    slot = 2 + torch.arange(4)
    sequence = torch.arange(5)[:, None]
    rows = Batch(
        obs=sample.obs[sequence, slot].flatten(0, 1),
        action=sample.action.flatten(),
        mask=sample.mask.flatten(0, 1),
        reward=sample.reward.flatten(),
        discount=sample.discount.flatten(),
        next_obs=sample.obs[sequence, slot + sample.ahead].flatten(0, 1),
        next_mask=sample.next_mask.flatten(0, 1),
        weight=sample.weight.flatten(),
        logged=sample.logged.flatten(),
        starts=torch.zeros_like(sample.logged.flatten()),
    )
    loss, metrics, errors, _ = learner.loss(online, target, sample, random_inputs(learner, 30))
    expected_loss, expected, of_rows, _ = learner.loss(
        online, target, rows, random_inputs(learner, 20)
    )
    torch.testing.assert_close(loss, expected_loss)
    torch.testing.assert_close(tuple(metrics), tuple(expected))
    for ours, each in zip(errors, of_rows, strict=True):
        assert ours.shape == (5,)
        torch.testing.assert_close(ours, sequence_errors(each, sample))


def first_state(learner: Agent) -> OptimizerState:
    """The state before the first step."""
    parameters = torch.from_numpy(np.random.default_rng(1).normal(size=size(learner.layout)))
    moments = learner.optimizer.moments
    zeros = tuple(torch.zeros_like(parameters) for _ in range(moments))
    return OptimizerState(parameters, zeros, torch.zeros(moments, dtype=torch.float64))


@pytest.mark.parametrize(
    ("max_grad_norm", "factor", "expected"),
    [
        (None, 1.0, [0.7, 2.4, 5.0, 1.0]),  # [1, 2, 5, 1] - 0.1 * [3, -4, 0, 0]
        (10.0, 1.0, [0.7, 2.4, 5.0, 1.0]),
        (2.5, 1.0, [0.85, 2.2, 5.0, 1.0]),  # half of it: the norm is 5
        (2.5, 0.5, [0.925, 2.1, 5.0, 1.0]),
    ],
)
def test_a_step_goes_along_the_clipped_gradient_and_tells_its_norm_before(
    max_grad_norm: float | None, factor: float, expected: list[float]
) -> None:
    learner = replace(agent(Dqn()), optimizer=Sgd(0.1, Schedule.constant, max_grad_norm, 0.0))
    before = first_state(learner)._replace(parameters=ONLINE)
    gradient = torch.tensor([3.0, -4.0, 0.0, 0.0], dtype=torch.float64)
    after, norm = learner.step(before, gradient, torch.tensor(factor, dtype=torch.float64))
    assert after.parameters.tolist() == pytest.approx(expected, abs=1e-6)
    assert norm.item() == 5


def test_a_step_is_the_optimizers() -> None:
    learner = agent(Dqn(), Mlp([5, 4], True, False, True, True, 0.5), PLANE)
    before, one = first_state(learner), torch.ones((), dtype=torch.float64)
    after, _ = learner.step(before, before.parameters.sin(), one)
    expected = learner.optimizer.step(before, before.parameters.sin(), one)
    torch.testing.assert_close(tuple(after), tuple(expected), rtol=0, atol=0)


def test_a_step_improves_the_singular_vectors_for_the_new_weights() -> None:
    learner = agent(Dqn(), Mlp([5, 4], False, True, False, False, 0.5), PLANE)
    before, one = first_state(learner), torch.ones((), dtype=torch.float64)
    after, _ = learner.step(before, before.parameters.sin(), one)
    stepped = learner.optimizer.step(before, before.parameters.sin(), one)
    p, plain = (views(state.parameters, learner.layout) for state in (after, stepped))
    spectral = {name for name in p if name.endswith(".singular_vector")}
    assert spectral == {"torso.0.singular_vector", "advantage.hidden.singular_vector"}
    for name, value in p.items():
        if name in spectral:
            weight = matrix(plain, name.removesuffix(".singular_vector"))
            expected = F.normalize(F.normalize(weight @ plain[name], dim=0) @ weight, dim=0)
            torch.testing.assert_close(value, expected)
        else:
            assert torch.equal(value, plain[name])
    torch.testing.assert_close(tuple(after)[1:], tuple(stepped)[1:], rtol=0, atol=0)


@pytest.mark.parametrize("head", HEADS)
def test_an_agent_acts_and_has_dormant_units_as_its_model(head: Head) -> None:
    learner = agent(Dqn(), Lstm([4, 3], True, False, False, True, 0.5, [], 4, 3, 2, 4), PLANE, head)
    model, parameters = learner.model, first_state(learner).parameters
    random = np.random.default_rng(2)
    obs, state, noise = (
        torch.from_numpy(random.normal(size=shape))
        for shape in ((5, 2), (5, model.state_size), (model.noise_size,))
    )
    acted = learner.act(parameters, obs, state, noise)
    assert all(map(torch.equal, acted, model.act(parameters, obs, state, noise)))
    assert torch.equal(learner.dormant(parameters, obs), model.dormant(parameters, obs))


def test_model_and_layout_are_of_the_agents_parts() -> None:
    learner = agent(Dqn(), Mlp([4], True, False, False, False, 0.5), PLANE, Qr(3))
    assert (learner.model.spaces, learner.model.network) == (PLANE, learner.network)
    assert learner.model.head == Qr(3)
    assert learner.layout == learner.network.layout(PLANE, Qr(3))


def test_scalars_are_the_numbers_that_may_differ_between_members() -> None:
    optimizer = RmsProp(2.5e-4, Schedule.linear, 10.0, 0.95, 0.01, 0.0, True)
    update = Munchausen(0.9, 0.03, -1.0)
    network = Lstm([4], True, False, False, True, 0.5, [], 4, 3, 2, 4)
    scalars = Agent(ONE_HOT, network, C51(51, -10.0, 20.0), update, optimizer).scalars
    assert scalars == {
        "network.sigma": 0.5,
        "head.v_min": -10.0,
        "head.v_max": 20.0,
        "update.alpha": 0.9,
        "update.temperature": 0.03,
        "update.clip": -1.0,
        "optimizer.lr": 2.5e-4,
        "optimizer.max_grad_norm": 10.0,
        "optimizer.decay": 0.95,
        "optimizer.eps": 0.01,
        "optimizer.momentum": 0.0,
    }


def test_what_is_absent_or_whole_is_no_scalar() -> None:
    names = agent(Dqn(), Table(2, [0.0, 0.0], [1.0, 1.0]), head=Qr(3)).scalars
    assert set(names) == {"optimizer.lr", "optimizer.beta1", "optimizer.beta2", "optimizer.eps"}


def test_other_scalars_make_another_agent_and_leave_this_one() -> None:
    before = agent(soft(0.03, -1.0))
    after = before.with_scalars({"optimizer.lr": torch.tensor(0.5), "update.clip": -2.0})
    assert after.scalars["update.clip"] == -2.0
    assert vars(after.optimizer) == vars(ADAM) | {"lr": torch.tensor(0.5)}
    assert before.scalars["optimizer.lr"] == 1e-3
    assert (after.network, after.head, after.spaces) == (before.network, before.head, before.spaces)


def test_another_agents_model_has_its_own_parts() -> None:
    before = agent(Dqn(), Mlp([4], False, False, False, True, 0.5), PLANE, C51(3, 0.0, 1.0))
    assert before.model.layout["advantage.hidden.bias_sigma"].low == pytest.approx(0.5 / 2**0.5)
    after = before.with_scalars({"network.sigma": 1.0, "head.v_max": 2.0})
    assert after.model.layout["advantage.hidden.bias_sigma"].low == pytest.approx(1 / 2**0.5)
    assert after.model.head == C51(3, 0.0, 2.0)
    assert before.model.head == C51(3, 0.0, 1.0)


def test_scalars_may_be_tensors() -> None:
    update = Munchausen(0.9, 0.3, -1.0)
    network = Mlp([4], False, False, False, True, 0.5)
    learner = agent(update, network, PLANE, C51(5, -3.0, 3.0))
    tensors = {key: torch.tensor(value).double() for key, value in learner.scalars.items()}
    parameters, target = (
        torch.from_numpy(np.random.default_rng(seed).normal(size=size(learner.layout)))
        for seed in (1, 2)
    )
    own, others = (
        each.loss(parameters, target, random_batch(12), random_inputs(learner, 12))
        for each in (learner, learner.with_scalars(tensors))
    )
    for ours, theirs in zip(own, others, strict=True):
        torch.testing.assert_close(ours, theirs)
