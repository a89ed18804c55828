from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.batch import Batch
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.networks import Mlp, Network, Table
from dqn_cli.agent.optimizers import Adam, AdamW, Optimizer, RmsProp, Schedule, Sgd
from dqn_cli.agent.parameters import initial
from dqn_cli.agent.spaces import Spaces
from dqn_cli.agent.updates import Double, Dqn, Update
from dqn_cli.training.learner import Learner, Metrics

CPU = torch.device("cpu")
CONSTANT = Schedule.constant
PLANE = Spaces((2,), (-3, -3), (3, 3), False, (3,), (0,), False)
ONE_HOT = Spaces((2,), (0, 0), (1, 1), True, (2,), (0,), False)
ADAM = Adam(1e-3, CONSTANT, 0.9, 0.999, 1e-8)
MLP = Mlp([8, 6], False, False)
SEEDS, RATES, NORMS = [4, 11, 5], [1e-2, 3e-3, 1e-3], [0.1, 1.0, 100.0]


def learner(agents: list[Agent], seeds: list[int], dtype: torch.dtype = torch.float64) -> Learner:
    return Learner(agents, [np.random.default_rng(seed) for seed in seeds], dtype, CPU)


def one(
    seed: int = 0,
    network: Network = MLP,
    update: Update | None = None,
    optimizer: Optimizer = ADAM,
    spaces: Spaces = PLANE,
) -> Learner:
    update = update or Dqn(Loss.huber, None)
    return learner([Agent(spaces, network, Scalar(), update, optimizer)], [seed])


def random_batch(seed: int, members: int, dtype: torch.dtype = torch.float64) -> Batch:
    random, shape = np.random.default_rng(seed), (members, 16)
    floats = {
        "obs": random.normal(size=(*shape, 2)),
        "reward": random.normal(size=shape) * 2,
        "discount": random.choice([0.0, 0.9], shape),
        "next_obs": random.normal(size=(*shape, 2)),
        "weight": random.uniform(0.5, 1.5, shape),
    }
    legal = random.random((*shape, 3)) < 0.6
    legal[..., 1] = True
    return Batch(
        action=torch.from_numpy(random.integers(3, size=shape)),
        mask=torch.ones(1, dtype=torch.bool).expand(*shape, 3),
        next_mask=torch.from_numpy(legal),
        **{name: torch.from_numpy(values).to(dtype) for name, values in floats.items()},
    )


@pytest.mark.parametrize(
    ("network", "update", "optimizer"),
    [
        (MLP, Dqn(Loss.huber, 1.0), ADAM),
        (Mlp([8, 6], True, True), Double(Loss.squared, 1.0), ADAM),
        (
            Mlp([8], True, False),
            Double(Loss.huber, 1.0),
            AdamW(1.0, CONSTANT, 0.9, 0.99, 1e-5, 0.1),
        ),
        (Mlp([8], False, True), Dqn(Loss.huber, 1.0), RmsProp(1.0, CONSTANT, 0.9, 0.01, 0.5, True)),
        (Table(4, None, None), Double(Loss.squared, 1.0), Sgd(1.0, CONSTANT, 0.9)),
    ],
    ids=["mlp", "dueling-norm", "adamw", "rmsprop", "table"],
)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_members_learn_side_by_side_what_each_learns_alone(
    network: Network, update: Update, optimizer: Optimizer, dtype: torch.dtype, close: float
) -> None:
    agents = [
        Agent(
            PLANE,
            network,
            Scalar(),
            replace(update, max_grad_norm=norm),
            replace(optimizer, lr=rate),
        )
        for norm, rate in zip(NORMS, RATES, strict=True)
    ]
    together = learner(agents, SEEDS, dtype)
    alone = [learner([agent], [seed], dtype) for agent, seed in zip(agents, SEEDS, strict=True)]
    for count in range(10):
        batch = random_batch(count, 3, dtype)
        metrics = together.update(batch, 1 - count / 20)
        together.blend_target(0.25)
        for member, single in enumerate(alone):
            own = Batch(*(tensor[member : member + 1] for tensor in batch))
            expected = single.update(own, 1 - count / 20)
            single.blend_target(0.25)
            for mine, theirs in zip(metrics, expected, strict=True):
                torch.testing.assert_close(
                    mine[member : member + 1], theirs, rtol=close, atol=close
                )
    for member, single in enumerate(alone):
        for mine, theirs in zip(together.state, single.state, strict=True):
            torch.testing.assert_close(mine[member : member + 1], theirs, rtol=close, atol=close)
    assert together.state.parameters.dtype == together.state.moments.dtype == dtype
    assert together.state.updates.tolist() == [10, 10, 10]


def two_by_hand(max_grad_norm: float | None, factor: float = 1.0) -> tuple[Learner, Metrics]:
    """A zero table after one step on the rewards 3 and 4 of two terminal transitions."""
    update, optimizer = Dqn(Loss.squared, max_grad_norm), Sgd(0.1, CONSTANT, 0.0)
    learning = one(0, Table(2, None, None), update, optimizer, ONE_HOT)
    state, legal = torch.eye(2, dtype=torch.float64)[None], torch.ones(1, 2, 2, dtype=torch.bool)
    reward = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    action = torch.tensor([[1, 0]])
    batch = Batch(state, action, legal, reward, 0 * reward, state, legal, torch.ones_like(reward))
    return learning, learning.update(batch, factor)


@pytest.mark.parametrize(
    ("max_grad_norm", "factor", "first", "second"),
    [
        # (3^2 + 4^2) / 2 has the gradient (-3, -4), of norm 5; the learning rate is 0.1
        (None, 1.0, 0.3, 0.4),
        (10.0, 1.0, 0.3, 0.4),
        (2.5, 1.0, 0.15, 0.2),
        (1.0, 1.0, 0.06, 0.08),
        (None, 0.5, 0.15, 0.2),
    ],
)
def test_a_gradient_is_clipped_to_its_largest_norm_and_then_stepped_along(
    max_grad_norm: float | None, factor: float, first: float, second: float
) -> None:
    learning, metrics = two_by_hand(max_grad_norm, factor)
    expected = [0.0, first, second, 0.0]
    assert learning.state.parameters[0].tolist() == pytest.approx(expected, rel=1e-6)
    assert metrics.gradient_norm.tolist() == pytest.approx([5.0])


def test_metrics_of_an_update_are_those_from_before_it() -> None:
    _, metrics = two_by_hand(None)
    assert metrics.loss.tolist() == [12.5]  # (9 + 16) / 2
    assert metrics.q.tolist() == [0.0]
    assert metrics.td_error.tolist() == [3.5]
    assert not any(metric.requires_grad for metric in metrics)


def test_an_update_leaves_the_target_network_alone() -> None:
    learning = one()
    before = learning.state.parameters.clone()
    learning.update(random_batch(0, 1), 1.0)
    assert torch.equal(learning.state.target, before)
    assert not torch.equal(learning.state.parameters, before)


def test_a_hard_blend_copies_exactly_and_without_sharing() -> None:
    learning = one()
    for count in range(3):
        learning.update(random_batch(count, 1), 1.0)
    learning.blend_target(1.0)
    assert torch.equal(learning.state.target, learning.state.parameters)
    copied = learning.state.target.clone()
    learning.update(random_batch(3, 1), 1.0)
    assert torch.equal(learning.state.target, copied)


@pytest.mark.parametrize(("tau", "target"), [(0.0, [0.0, 0.0]), (0.25, [0.075, 0.1])])
def test_a_soft_blend_goes_its_share_of_the_way(tau: float, target: list[float]) -> None:
    learning, _ = two_by_hand(None)
    learning.blend_target(tau)
    assert learning.state.target[0, 1:3].tolist() == pytest.approx(target)
    learning.blend_target(tau)  # 0.075 + 0.25 * (0.3 - 0.075) = 0.13125; 0.1 + 0.075 = 0.175
    again = [0.13125, 0.175] if tau else [0.0, 0.0]
    assert learning.state.target[0, 1:3].tolist() == pytest.approx(again)


def test_the_target_starts_as_a_copy_and_moments_and_count_at_zero() -> None:
    state = one().state
    assert torch.equal(state.target, state.parameters)
    assert state.target.data_ptr() != state.parameters.data_ptr()
    assert state.moments.shape == (1, 2, state.parameters.shape[1])
    assert not state.moments.any()
    assert state.updates.tolist() == [0]


def test_each_member_starts_from_its_own_seed() -> None:
    agent = Agent(PLANE, MLP, Scalar(), Dqn(Loss.huber, None), ADAM)
    parameters = learner([agent] * 3, SEEDS).state.parameters
    for member, seed in enumerate(SEEDS):
        expected = initial(agent.layout, np.random.default_rng(seed))
        assert torch.equal(parameters[member], expected)


def test_the_same_seed_learns_bit_for_bit_the_same_and_another_differs() -> None:
    first, again, other = one(1), one(1), one(2)
    assert torch.equal(first.state.parameters, again.state.parameters)
    assert not torch.equal(first.state.parameters, other.state.parameters)
    for count in range(5):
        first.update(random_batch(count, 1), 1.0)
        again.update(random_batch(count, 1), 1.0)
    assert all(map(torch.equal, first.state, again.state))


@pytest.mark.parametrize("seeds", [[4], SEEDS])
def test_q_has_the_values_of_each_members_own_network(seeds: list[int]) -> None:
    agent = Agent(PLANE, MLP, Scalar(), Dqn(Loss.huber, None), ADAM)
    learning = learner([agent] * len(seeds), seeds)
    obs = np.random.default_rng(0).normal(size=(len(seeds), 5, 2))
    q = learning.q(obs)
    assert q.shape == (len(seeds), 5, 3)
    for member in range(len(seeds)):
        expected = agent.q(learning.state.parameters[member], torch.from_numpy(obs[member]))
        np.testing.assert_allclose(q[member], expected.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("network", [MLP, Table(4, None, None)])
def test_observations_kept_as_bytes_are_learned_from_as_numbers(network: Network) -> None:
    batch = random_batch(0, 1)
    counts = batch._replace(obs=batch.obs.abs().floor(), next_obs=batch.next_obs.abs().floor())
    as_bytes = counts._replace(
        obs=counts.obs.to(torch.uint8), next_obs=counts.next_obs.to(torch.uint8)
    )
    expected, actual = one(0, network), one(0, network)
    expected.update(counts, 1.0)
    actual.update(as_bytes, 1.0)
    assert torch.equal(actual.state.parameters, expected.state.parameters)
