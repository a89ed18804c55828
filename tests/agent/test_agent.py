from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.batch import Batch
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.networks import Mlp, Network, Table
from dqn_cli.agent.optimizers import Adam, RmsProp, Schedule
from dqn_cli.agent.parameters import initial
from dqn_cli.agent.spaces import Spaces
from dqn_cli.agent.updates import Double, Dqn, Update

ONE_HOT = Spaces((2,), (0, 0), (1, 1), True, (2,), (0,), False)
PLANE = Spaces((2,), (-9, -9), (9, 9), False, (3,), (0,), False)
# Two states of two actions each: the networks disagree about the best action in state 1.
ONLINE = torch.tensor([1.0, 2.0, 5.0, 1.0], dtype=torch.float64)
TARGET = torch.tensor([0.0, 0.0, 3.0, 4.0], dtype=torch.float64)
ADAM = Adam(1e-3, Schedule.constant, 0.9, 0.999, 1e-8)


def agent(update: Update, network: Network | None = None, spaces: Spaces = ONE_HOT) -> Agent:
    return Agent(spaces, network or Table(2, None, None), Scalar(), update, ADAM)


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
    )


@pytest.mark.parametrize(
    ("rule", "kind", "discount", "legal", "expected"),
    [
        # DQN bootstraps from max(3, 4) = 4: 0.5 + 0.9 * 4 = 4.1, 2.1 above z = 2.
        (Dqn, Loss.squared, 0.9, (True, True), 4.41),
        (Dqn, Loss.huber, 0.9, (True, True), 1.6),
        # Double takes the online network's first action, worth 3: 3.2, an error of 1.2.
        (Double, Loss.squared, 0.9, (True, True), 1.44),
        (Double, Loss.huber, 0.9, (True, True), 0.7),
        # Terminated: 0.5 alone, an error of -1.5.
        (Dqn, Loss.squared, 0.0, (True, True), 2.25),
        (Double, Loss.huber, 0.0, (True, True), 1.0),
        # Three steps: 0.5 + 0.729 * 4 = 3.416, an error of 1.416.
        (Dqn, Loss.huber, 0.729, (True, True), 0.916),
        # Only the first action is legal, worth 3; only the second, worth 4.
        (Dqn, Loss.squared, 0.9, (True, False), 1.44),
        (Double, Loss.squared, 0.9, (False, True), 4.41),
    ],
)
def test_the_loss_of_one_transition(
    rule: type[Dqn | Double],
    kind: Loss,
    discount: float,
    legal: tuple[bool, bool],
    expected: float,
) -> None:
    batch = transitions([discount], [1.0], legal)
    loss, estimates = agent(rule(kind, None)).loss(ONLINE, TARGET, batch)
    assert loss.item() == pytest.approx(expected)
    assert estimates.loss.item() == loss.item()


def test_weights_multiply_each_samples_loss_outside_the_robust_loss() -> None:
    batch = transitions([0.9, 0.0], [3.0, 0.5])
    loss, _ = agent(Dqn(Loss.huber, None)).loss(ONLINE, TARGET, batch)
    assert loss.item() == pytest.approx(2.65)  # (3 * 1.6 + 0.5 * 1.0) / 2


def test_estimates_are_unweighted_means_over_the_batch() -> None:
    batch = transitions([0.9, 0.0], [3.0, 0.5])
    _, estimates = agent(Dqn(Loss.huber, None)).loss(ONLINE, TARGET, batch)
    assert estimates.q.item() == pytest.approx(2.0)
    assert estimates.td_error.item() == pytest.approx(1.8)  # (2.1 + 1.5) / 2


def test_q_reads_the_values_of_all_actions() -> None:
    states = torch.eye(2, dtype=torch.float64)[[1, 0, 1]]
    q = agent(Dqn(Loss.huber, None)).q(ONLINE, states)
    assert q.tolist() == [[5, 1], [1, 2], [5, 1]]


@pytest.mark.parametrize(("kind", "slope"), [(Loss.squared, -4.2), (Loss.huber, -1.0)])
def test_only_the_taken_action_learns_and_targets_are_constants(kind: Loss, slope: float) -> None:
    online, target = ONLINE.clone().requires_grad_(), TARGET.clone().requires_grad_()
    loss, estimates = agent(Dqn(kind, None)).loss(online, target, transitions([0.9], [1.0]))
    loss.backward()
    assert online.grad is not None
    # squared: 2 * (2 - 4.1); Huber's slope beyond its knee is 1
    assert online.grad.tolist() == pytest.approx([0, slope, 0, 0])
    assert target.grad is None
    assert not any(estimate.requires_grad for estimate in estimates)


def random_batch(size: int) -> Batch:
    random = np.random.default_rng(5)
    return Batch(
        obs=torch.from_numpy(random.normal(size=(size, 2))),
        action=torch.from_numpy(random.integers(3, size=size)),
        mask=torch.ones(size, 3, dtype=torch.bool),
        reward=torch.from_numpy(random.normal(size=size) * 2),
        discount=torch.from_numpy(random.choice([0.0, 0.9, 0.81], size)),
        next_obs=torch.from_numpy(random.normal(size=(size, 2))),
        next_mask=torch.from_numpy(random.random((size, 3)) < 0.6) | (torch.arange(3) == 0),
        weight=torch.from_numpy(random.uniform(0.2, 2.0, size)),
    )


@pytest.mark.parametrize("rule", [Dqn, Double])
@pytest.mark.parametrize("kind", list(Loss))
@pytest.mark.parametrize(("layer_norm", "dueling"), product([False, True], repeat=2))
def test_the_gradient_of_the_loss_is_that_of_finite_differences(
    rule: type[Dqn | Double], kind: Loss, layer_norm: bool, dueling: bool
) -> None:
    learner = agent(rule(kind, None), Mlp([5, 4], layer_norm, dueling), PLANE)
    parameters, target = (initial(learner.layout, np.random.default_rng(seed)) for seed in (1, 2))
    batch, step = random_batch(12), 1e-6

    def loss(at: Tensor) -> Tensor:
        return learner.loss(at, target, batch)[0]

    (gradient,) = torch.autograd.grad(loss(parameters.requires_grad_()), parameters)
    nudges = step * torch.eye(len(parameters), dtype=torch.float64)
    with torch.no_grad():
        pairs = [(loss(parameters + nudge), loss(parameters - nudge)) for nudge in nudges]
    slopes = torch.stack([(above - below) / (2 * step) for above, below in pairs])
    assert gradient.abs().max() > 0.01
    torch.testing.assert_close(gradient, slopes, rtol=1e-5, atol=1e-7)


def test_scalars_are_the_numbers_that_may_differ_between_members() -> None:
    optimizer = RmsProp(2.5e-4, Schedule.linear, 0.95, 0.01, 0.0, True)
    update = Dqn(Loss.huber, 10.0)
    scalars = Agent(ONE_HOT, Mlp([4], True, False), Scalar(), update, optimizer).scalars
    assert scalars == {
        "update.max_grad_norm": 10.0,
        "optimizer.lr": 2.5e-4,
        "optimizer.decay": 0.95,
        "optimizer.eps": 0.01,
        "optimizer.momentum": 0.0,
    }


def test_other_scalars_make_another_agent_and_leave_this_one() -> None:
    before = agent(Dqn(Loss.huber, 10.0))
    after = before.with_scalars({"optimizer.lr": torch.tensor(0.5), "update.max_grad_norm": 1.0})
    assert after.scalars["update.max_grad_norm"] == 1.0
    assert vars(after.optimizer) == vars(ADAM) | {"lr": torch.tensor(0.5)}
    assert before.scalars["optimizer.lr"] == 1e-3
    assert (after.network, after.head, after.spaces) == (before.network, before.head, before.spaces)
