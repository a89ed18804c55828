from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from numpy.typing import NDArray
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.agent.categorical import C51
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.metrics import Metrics, SampleErrors
from dqn_cli.agent.networks import Mlp, Network
from dqn_cli.agent.optimizers import Adam, AdamW, Optimizer, RmsProp, Schedule, Sgd
from dqn_cli.agent.parameters import initial, size, views
from dqn_cli.agent.quantiles import Iqn, Qr
from dqn_cli.agent.recurrent import Gru, Lstm
from dqn_cli.agent.spaces import Spaces
from dqn_cli.agent.table import Table
from dqn_cli.agent.update_rules import Double, Dqn, Munchausen, UpdateRule
from dqn_cli.compiling.compiled_learner import CompiledLearner
from dqn_cli.training.build_run import build_run
from dqn_cli.training.learner import Learner, LearnerState
from dqn_cli.training.loop import act, store
from dqn_cli.training.randomness import Purpose, Randomness
from dqn_cli.training.settings import Settings

Array = NDArray[Any]
CPU = torch.device("cpu")
CONSTANT = Schedule.constant
PLANE = array_spaces((2,), (-3, -3), (3, 3), 3)
ONE_HOT = array_spaces((2,), (0, 0), (1, 1), 2, one_hot=True)
ADAM = Adam(1e-3, CONSTANT, None, 0.9, 0.999, 1e-8)
DQN, HUBER, SQUARED = Dqn(), Scalar(Loss.huber), Scalar(Loss.squared)
SEEDS, RATES, NORMS = [4, 11, 5], [1e-2, 3e-3, 1e-3], [0.1, 1.0, 100.0]


def mlp(*widths: int, **changes: Any) -> Mlp:
    """Return a plain network with these changes."""
    return replace(Mlp(list(widths), False, False, False, False, 0.5), **changes)


def gru(**changes: Any) -> Gru:
    return replace(Gru([6, 5], False, False, False, False, 0.5, [], 4, 4, 2, 3), **changes)


MLP = mlp(8, 6)
NOISY = mlp(8, 6, noisy=True, dueling=True)
IQN = Iqn(4, 5)


def noise_of(seeds: list[int]) -> Randomness:
    return Randomness(seeds, Purpose.noise)


def states(noise: Randomness) -> list[dict[str, Any]]:
    return [noise.state(member) for member, _ in enumerate(noise)]


def learner(agents: list[Agent], seeds: list[int], dtype: torch.dtype = torch.float64) -> Learner:
    return Learner(agents, [np.random.default_rng(seed) for seed in seeds], dtype, CPU)


def agent_of(
    network: Network,
    head: Head = HUBER,
    update: UpdateRule = DQN,
    optimizer: Optimizer = ADAM,
    spaces: Spaces = PLANE,
) -> Agent:
    return Agent(spaces, network, head, update, optimizer)


def one(
    seed: int = 0,
    network: Network = MLP,
    head: Head = HUBER,
    optimizer: Optimizer = ADAM,
    spaces: Spaces = PLANE,
) -> Learner:
    return learner([agent_of(network, head, DQN, optimizer, spaces)], [seed])


def copied(state: LearnerState) -> LearnerState:
    """Return a copy that updates in place do not change."""
    return LearnerState(*(tensor.clone() for tensor in state))


def updated(learning: Learner, count: int, seed: int = 0) -> None:
    noise = noise_of([seed])
    for batch in range(count):
        learning.update_on_batch(random_batch(batch, 1), noise, [1.0])


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
        logged=torch.zeros(shape, dtype=torch.bool),
        starts=torch.zeros(shape, dtype=torch.bool),
        **{name: torch.from_numpy(values).to(dtype) for name, values in floats.items()},
    )


@pytest.mark.parametrize(
    ("network", "update", "optimizer", "head"),
    [
        (MLP, DQN, ADAM, HUBER),
        (mlp(8, 6, layer_norm=True, dueling=True), Double(), ADAM, SQUARED),
        (
            mlp(8, layer_norm=True),
            Double(),
            AdamW(1.0, CONSTANT, 1.0, 0.9, 0.99, 1e-5, 0.1),
            HUBER,
        ),
        (mlp(8, dueling=True), DQN, RmsProp(1.0, CONSTANT, 1.0, 0.9, 0.01, 0.5, True), HUBER),
        (Table(4, None, None), Double(), Sgd(1.0, CONSTANT, 1.0, 0.9), SQUARED),
        (NOISY, Double(), ADAM, C51(11, -5.0, 5.0)),
        (mlp(8, 6, spectral_norm=True), DQN, ADAM, Qr(5)),
        (NOISY, Munchausen(0.9, 0.03, -1.0), ADAM, IQN),
    ],
    ids=["mlp", "dueling-norm", "adamw", "rmsprop", "table", "rainbow", "spectral", "iqn"],
)
@pytest.mark.parametrize(("dtype", "close"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_members_learn_side_by_side_what_each_learns_alone(
    network: Network,
    update: UpdateRule,
    optimizer: Optimizer,
    head: Head,
    dtype: torch.dtype,
    close: float,
) -> None:
    agents = [
        agent_of(network, head, update, replace(optimizer, lr=rate, max_grad_norm=norm))
        for norm, rate in zip(NORMS, RATES, strict=True)
    ]
    together = learner(agents, SEEDS, dtype)
    noise = noise_of(SEEDS)
    alone = [learner([agent], [seed], dtype) for agent, seed in zip(agents, SEEDS, strict=True)]
    noises = [noise_of([seed]) for seed in SEEDS]
    for count in range(10):
        batch = random_batch(count, 3, dtype)
        errors = together.update_on_batch(batch, noise, [1 - count / 20] * 3)
        together.polyak_update([0.25] * 3)
        for member, single in enumerate(alone):
            part = Batch(*(tensor[member : member + 1] for tensor in batch))
            single_errors = single.update_on_batch(part, noises[member], [1 - count / 20])
            single.polyak_update([0.25])
            results, expected = (together.metrics, *errors), (single.metrics, *single_errors)
            for mine, theirs in zip(results, expected, strict=True):
                torch.testing.assert_close(
                    torch.as_tensor(mine[member : member + 1]),
                    torch.as_tensor(theirs),
                    rtol=close,
                    atol=close,
                )
    for member, single in enumerate(alone):
        for mine, theirs in zip(together.state, single.state, strict=True):
            torch.testing.assert_close(mine[member : member + 1], theirs, rtol=close, atol=close)
    assert together.state.parameters.dtype == together.state.moments.dtype == dtype
    assert together.state.corrections.dtype == torch.float64


def two_by_hand(
    max_grad_norm: float | None, factor: float = 1.0, weight: tuple[float, float] = (1, 1)
) -> tuple[Learner, Metrics, SampleErrors]:
    """Return a table of zeros after one step on the rewards 3 and 4 of terminal transitions."""
    optimizer = Sgd(0.1, CONSTANT, max_grad_norm, 0.0)
    learning = one(0, Table(2, None, None), SQUARED, optimizer, ONE_HOT)
    state, legal = torch.eye(2, dtype=torch.float64)[None], torch.ones(1, 2, 2, dtype=torch.bool)
    reward = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    action = torch.tensor([[1, 0]])
    weights = torch.tensor([weight], dtype=torch.float64)
    no = torch.zeros_like(action, dtype=torch.bool)
    batch = Batch(state, action, legal, reward, 0 * reward, state, legal, weights, no, no)
    errors = learning.update_on_batch(batch, noise_of([0]), [factor])
    (metrics,) = learning.metrics
    return learning, Metrics(*metrics), errors


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
    learning, metrics, _ = two_by_hand(max_grad_norm, factor)
    expected = [0.0, first, second, 0.0]
    assert learning.state.parameters[0].tolist() == pytest.approx(expected, rel=1e-6)
    assert metrics.gradient_norm.item() == pytest.approx(5.0)


def test_metrics_of_an_update_are_those_from_before_it() -> None:
    _, metrics, _ = two_by_hand(None)
    assert metrics.loss.item() == 12.5  # (9 + 16) / 2
    assert metrics.q_mean.item() == 0.0
    assert metrics.td_error.item() == 3.5
    assert metrics.edge_mass.item() == 0.0
    assert not any(metric.requires_grad for metric in metrics)


def test_an_update_returns_each_samples_loss_and_error_without_its_weight() -> None:
    learning, metrics, (losses, td_errors) = two_by_hand(None, weight=(1.0, 0.5))
    assert losses.tolist() == [[9, 16]]
    assert td_errors.tolist() == [[3, 4]]
    assert metrics.loss.item() == 8.5  # (9 + 16 / 2) / 2
    assert learning.state.parameters[0].tolist() == pytest.approx([0, 0.3, 0.2, 0])


def test_an_update_leaves_the_target_network_alone() -> None:
    learning = one()
    before = learning.state.parameters.clone()
    updated(learning, 1)
    assert torch.equal(learning.state.target, before)
    assert not torch.equal(learning.state.parameters, before)


def test_a_coefficient_of_one_copies_exactly_and_without_sharing() -> None:
    learning = one()
    updated(learning, 3)
    learning.polyak_update([1.0])
    assert torch.equal(learning.state.target, learning.state.parameters)
    target = learning.state.target.clone()
    updated(learning, 1)
    assert torch.equal(learning.state.target, target)


@pytest.mark.parametrize(("tau", "target"), [(0.0, [0.0, 0.0]), (0.25, [0.075, 0.1])])
def test_a_polyak_update_moves_the_target_its_share_of_the_way(
    tau: float, target: list[float]
) -> None:
    learning, _, _ = two_by_hand(None)
    learning.polyak_update([tau])
    assert learning.state.target[0, 1:3].tolist() == pytest.approx(target)
    learning.polyak_update([tau])  # 0.075 + 0.25 * (0.3 - 0.075) = 0.13125; 0.1 + 0.075 = 0.175
    again = [0.13125, 0.175] if tau else [0.0, 0.0]
    assert learning.state.target[0, 1:3].tolist() == pytest.approx(again)


def test_the_target_starts_as_a_copy_and_moments_and_count_at_zero() -> None:
    state = one().state
    assert torch.equal(state.target, state.parameters)
    assert state.target.data_ptr() != state.parameters.data_ptr()
    assert state.moments.shape == (1, 2, state.parameters.shape[1])
    assert not state.moments.any()
    assert state.corrections.tolist() == [[0, 0]]


def test_each_member_starts_from_its_own_seed() -> None:
    agent = agent_of(MLP)
    parameters = learner([agent] * 3, SEEDS).state.parameters
    for member, seed in enumerate(SEEDS):
        expected = initial(agent.layout, np.random.default_rng(seed))
        assert torch.equal(parameters[member], expected)


@pytest.mark.parametrize(
    ("network", "head"), [(MLP, HUBER), (NOISY, C51(11, -5.0, 5.0)), (MLP, IQN)]
)
def test_the_same_seeds_learn_bit_for_bit_the_same_and_others_differ(
    network: Network, head: Head
) -> None:
    first, again, other = (one(seed, network, head) for seed in (1, 1, 2))
    assert torch.equal(first.state.parameters, again.state.parameters)
    assert not torch.equal(first.state.parameters, other.state.parameters)
    updated(first, 5)
    updated(again, 5)
    assert all(map(torch.equal, first.state, again.state))


@pytest.mark.parametrize(("network", "head"), [(NOISY, HUBER), (MLP, IQN)])
def test_other_noise_learns_something_else(network: Network, head: Head) -> None:
    first, other = (one(1, network, head) for _ in range(2))
    updated(first, 5, seed=0)
    updated(other, 5, seed=1)
    assert not torch.equal(first.state.parameters, other.state.parameters)


def observations(members: int, count: int = 5) -> Array:
    return np.random.default_rng(0).normal(size=(members, count, 2))


@pytest.mark.parametrize("seeds", [[4], SEEDS])
@pytest.mark.parametrize("head", [HUBER, IQN])
def test_values_are_those_of_each_members_own_network(seeds: list[int], head: Head) -> None:
    agent = agent_of(MLP, head)
    learning, obs = learner([agent] * len(seeds), seeds), observations(len(seeds))
    values = learning.values(obs, noise_of(seeds))
    assert values.shape == (len(seeds), 5, 3)
    for member in range(len(seeds)):
        mine = learning.state.parameters[member]
        expected = agent.model.q(mine, torch.from_numpy(obs[member]), torch.empty(0))
        np.testing.assert_allclose(values[member], expected.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("max_numbers", [1, 4, 5, 6])  # an observation has two
def test_many_observations_are_evaluated_in_parts_with_one_noise(
    monkeypatch: pytest.MonkeyPatch, max_numbers: int
) -> None:
    learning, obs = learner([agent_of(NOISY)] * 3, SEEDS), observations(3)
    expected = learning.values(obs, noise_of(SEEDS))
    monkeypatch.setattr("dqn_cli.training.learner.MAX_NUMBERS", max_numbers)
    noise, expected_noise = noise_of(SEEDS), noise_of(SEEDS)
    np.testing.assert_allclose(learning.values(obs, noise), expected, rtol=1e-12, atol=1e-14)
    expected_noise.normal(agent_of(NOISY).model.noise_size)
    assert states(noise) == states(expected_noise)


@pytest.mark.parametrize("seeds", [[4], SEEDS])
def test_acting_draws_each_members_noise_anew(seeds: list[int]) -> None:
    agent = agent_of(NOISY)
    learning, obs = learner([agent] * len(seeds), seeds), observations(len(seeds))
    noise, same_noise, empty = noise_of(seeds), noise_of(seeds), np.zeros((len(seeds), 5, 0))
    for _ in range(2):
        values, state = learning.act(obs, empty, noise)
        assert state.shape == empty.shape
        expected = same_noise.normal(agent.model.noise_size)
        for member in range(len(seeds)):
            mine = learning.state.parameters[member]
            normal = torch.from_numpy(expected[member])
            q = agent.model.q(mine, torch.from_numpy(obs[member]), normal)
            np.testing.assert_allclose(values[member], q.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("seeds", [[4], SEEDS])
@pytest.mark.parametrize("network", [NOISY, gru(noisy=True), MLP, gru()])
@pytest.mark.parametrize("head", [HUBER, IQN])
def test_acting_draws_one_number_for_each_noise_and_none_where_no_layer_is_noisy(
    seeds: list[int], network: Network, head: Head
) -> None:
    agent = agent_of(network, head)
    learning, obs = learner([agent] * len(seeds), seeds), observations(len(seeds))
    noise, expected = noise_of(seeds), noise_of(seeds)
    if network.is_noisy:
        expected.normal(agent.model.noise_size)
    learning.act(obs, np.zeros((len(seeds), 5, agent.model.state_size)), noise)
    assert (states(expected) != states(noise_of(seeds))) is network.is_noisy
    assert states(noise) == states(expected)


def test_a_member_acts_with_the_noise_that_it_has_alone() -> None:
    agent = agent_of(NOISY)
    together, obs = learner([agent] * len(SEEDS), SEEDS), observations(len(SEEDS))
    obs[:] = obs[0]
    empty = np.zeros((len(SEEDS), 5, 0))
    values, _ = together.act(obs, empty, noise_of(SEEDS))
    for member, seed in enumerate(SEEDS):
        alone = learner([agent], [seed])
        expected, _ = alone.act(obs[:1], empty[:1], noise_of([seed]))
        np.testing.assert_allclose(values[member], expected[0], rtol=1e-12, atol=1e-14)
        other, _ = alone.act(obs[:1], empty[:1], noise_of([seed + 1]))
        assert not np.allclose(values[member], other[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("network", [NOISY, gru(noisy=True)])
def test_acting_is_in_the_learners_precision(dtype: torch.dtype, network: Network) -> None:
    agent = agent_of(network)
    learning = learner([agent], [0], dtype)
    state = np.zeros((1, 5, agent.model.state_size), np.float32)
    values, after = learning.act(observations(1), state, noise_of([0]))
    assert torch.from_numpy(values).dtype == dtype
    # A network without a recurrent state returns the same array.
    assert torch.from_numpy(after).dtype == dtype if state.size else after is state


@pytest.mark.parametrize("seeds", [[4], SEEDS])
@pytest.mark.parametrize("kind", [Gru, Lstm])
def test_acting_carries_a_recurrent_state_on(seeds: list[int], kind: type[Gru]) -> None:
    agent = agent_of(kind(**vars(gru())))
    learning, obs = learner([agent] * len(seeds), seeds), observations(len(seeds))
    state = np.zeros((len(seeds), 5, agent.model.state_size), np.float32)
    first, after = learning.act(obs, state, noise_of(seeds))
    second, later = learning.act(obs, after, noise_of(seeds))
    assert after.shape == later.shape == state.shape
    assert not np.allclose(first, second)
    for member in range(len(seeds)):
        inputs = (torch.from_numpy(values[member]) for values in (obs, after))
        parameters = learning.state.parameters[member]
        q, next_state = agent.model.act(parameters, *inputs, torch.empty(0))
        np.testing.assert_allclose(second[member], q.numpy(), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(later[member], next_state.numpy(), rtol=1e-12, atol=1e-14)
    # `values` computes with the zero states of an episode's beginning.
    np.testing.assert_array_equal(learning.values(obs, noise_of(seeds)), first)


@pytest.mark.parametrize("network", [MLP, Table(4, None, None)])
def test_bytes_are_learned_from_as_numbers(network: Network) -> None:
    batch = random_batch(0, 1)
    counts = batch._replace(obs=batch.obs.abs().floor(), next_obs=batch.next_obs.abs().floor())
    as_bytes = counts._replace(
        obs=counts.obs.to(torch.uint8), next_obs=counts.next_obs.to(torch.uint8)
    )
    expected, actual = one(0, network), one(0, network)
    expected.update_on_batch(counts, noise_of([0]), [1.0])
    actual.update_on_batch(as_bytes, noise_of([0]), [1.0])
    assert torch.equal(actual.state.parameters, expected.state.parameters)


def random_sequences(seed: int, members: int, batch: int = 4) -> Sequences:
    """Return sequences of two steps of burn-in, three to learn from and one more."""
    random, shape = np.random.default_rng(seed), (members, batch, 3)
    floats = {
        "obs": random.normal(size=(members, batch, 6, 2)),
        "state": random.normal(size=(members, batch, 4)),
        "reward": random.normal(size=shape),
        "discount": random.choice([0.0, 0.9], shape),
        "weight": random.uniform(0.5, 1.5, shape) * (random.random(shape) < 0.8),
    }
    return Sequences(
        starts=torch.from_numpy(random.random((members, batch, 6)) < 0.2),
        action=torch.from_numpy(random.integers(3, size=shape)),
        mask=torch.ones((*shape, 3), dtype=torch.bool),
        ahead=torch.ones(shape, dtype=torch.int64),
        next_mask=torch.ones((*shape, 3), dtype=torch.bool),
        logged=torch.zeros(shape, dtype=torch.bool),
        **{name: torch.from_numpy(values) for name, values in floats.items()},
    )


@pytest.mark.parametrize("head", [HUBER, IQN])
def test_members_learn_from_sequences_what_each_learns_alone(head: Head) -> None:
    agents = [agent_of(gru(), head, optimizer=replace(ADAM, lr=rate)) for rate in RATES]
    together, noise = learner(agents, SEEDS), noise_of(SEEDS)
    alone = [learner([agent], [seed]) for agent, seed in zip(agents, SEEDS, strict=True)]
    noises = [noise_of([seed]) for seed in SEEDS]
    for count in range(5):
        batch = random_sequences(count, 3)
        errors = together.update_on_batch(batch, noise, [1.0] * 3)
        assert [error.shape for error in errors] == [(3, 4), (3, 4)]  # one for each sequence
        for member, single in enumerate(alone):
            part = Sequences(*(tensor[member : member + 1] for tensor in batch))
            expected = single.update_on_batch(part, noises[member], [1.0])
            for mine, theirs in zip(errors, expected, strict=True):
                np.testing.assert_allclose(mine[member], theirs[0], rtol=1e-9)
    for member, single in enumerate(alone):
        torch.testing.assert_close(together.state.parameters[member], single.state.parameters[0])


@pytest.mark.parametrize(
    ("network", "head", "last"),
    [
        (MLP, HUBER, "advantage"),
        (NOISY, C51(11, -5.0, 5.0), ("advantage", "value")),
        (mlp(8, 6, spectral_norm=True, layer_norm=True), IQN, "advantage"),
        (gru(dueling=True), HUBER, ("advantage", "value")),
    ],
    ids=["mlp", "rainbow", "iqn", "gru"],
)
def test_a_reset_changes_only_the_streams_and_restarts_the_optimizer(
    network: Network, head: Head, last: str | tuple[str, ...]
) -> None:
    learning, layout = one(3, network, head), agent_of(network, head).layout
    if isinstance(network, Gru):
        for count in range(3):
            learning.update_on_batch(random_sequences(count, 1), noise_of([0]), [1.0])
    else:
        updated(learning, 3)
    before = copied(learning.state)
    learning.reset(Randomness([3], Purpose.resets), [False])
    after = learning.state
    fresh = views(initial(layout, next(iter(Randomness([3], Purpose.resets)))), layout)
    for which in ("parameters", "target"):
        old, new = (views(getattr(state, which)[0], layout) for state in (before, after))
        for name, tensor in new.items():
            assert torch.equal(tensor, (fresh if name.startswith(last) else old)[name]), name
    # Zero moments with the correction of old ones would make the first steps many times too long.
    for old, new in ((before.moments, after.moments), (before.corrections, after.corrections)):
        assert old.abs().sum() > 0
        assert not new.any()


def test_a_reset_moves_other_layers_a_share_of_the_way_to_fresh_values() -> None:
    network = mlp(8, 6, spectral_norm=True, layer_norm=True)
    learning, layout = one(3, network), agent_of(network).layout
    updated(learning, 3)
    before = copied(learning.state)
    learning.reset(Randomness([3], Purpose.resets), [False], 0.25)
    fresh = views(initial(layout, next(iter(Randomness([3], Purpose.resets)))), layout)
    for which in ("parameters", "target"):
        old, new = (views(getattr(s, which)[0], layout) for s in (before, learning.state))
        for name, tensor in new.items():
            share = 0.25
            if name.startswith("advantage"):
                share = 1
            elif name.endswith("singular_vector"):  # an estimate that belongs to the weight
                share = 0
            expected = (1 - share) * old[name] + share * fresh[name]
            torch.testing.assert_close(tensor, expected, rtol=1e-12, atol=1e-14)
            assert share in (0.25, 0) or torch.equal(tensor, fresh[name])
    assert not learning.state.moments.any()


@pytest.mark.parametrize("by_target", [False, True])
def test_the_network_that_acts_is_the_one_that_is_kept_as_the_policy(by_target: bool) -> None:
    agent = replace(agent_of(MLP), acts_by_target=by_target)
    learning = learner([agent], [3])
    updated(learning, 3)
    online, target = learning.state.parameters, learning.state.target
    assert not torch.equal(online, target)
    acting, other = (target, online) if by_target else (online, target)
    obs = np.random.default_rng(0).normal(size=(1, 5, 2))
    q, _ = learning.act(obs, np.zeros((1, 5, 0)), noise_of([0]))
    empty = torch.from_numpy(obs[0]).new_zeros(0)
    rows = torch.from_numpy(obs[0])
    assert np.allclose(q[0], agent.model.q(acting[0], rows, empty).detach())
    assert not np.allclose(q[0], agent.model.q(other[0], rows, empty).detach())
    assert torch.equal(learning.policy_parameters(0), acting[0])
    learning.polyak_update([0.5])
    assert torch.equal(learning.policy_parameters(0), learning.acting_parameters[0])


def test_a_reset_by_a_share_of_zero_is_one_without() -> None:
    first, second = one(3), one(3)
    first.reset(Randomness([3], Purpose.resets), [False], 0.0)
    second.reset(Randomness([3], Purpose.resets), [False])
    assert torch.equal(first.state.parameters, second.state.parameters)


def with_dead_units(learning: Learner) -> Tensor:
    """Lets unit `member` of the first layer of each member never react; returns observations."""
    parameters = learning.state.parameters.clone()
    for member, own in enumerate(parameters):
        p = views(own, agent_of(MLP).layout)
        p["torso.0.weight"][:, member] = 0
        p["torso.0.bias"][member] = 0
    learning.load(learning.state._replace(parameters=parameters))
    random = np.random.default_rng(8)
    return torch.from_numpy(random.normal(size=(len(parameters), 40, 2)))


@pytest.mark.parametrize("spared", [[False] * 3, [False, True, False]])
def test_recycling_gives_only_dead_units_new_weights_and_moments_of_zeros(
    spared: list[bool],
) -> None:
    learning = three()
    obs, layout = with_dead_units(learning), agent_of(MLP).layout
    before = copied(learning.state)
    learning.recycle(obs.numpy(), Randomness(SEEDS, Purpose.resets), spared, 0.0)
    after, changes = learning.state, learning.state.parameters != before.parameters
    for member, (keeps, generator) in enumerate(
        zip(spared, Randomness(SEEDS, Purpose.resets), strict=True)
    ):
        fresh, new = (
            views(initial(layout, generator), layout),
            views(after.parameters[member], layout),
        )
        column = new["torso.0.weight"][:, member]
        moments = [views(m, layout)["torso.0.weight"][:, member] for m in after.moments[member]]
        old = [views(m, layout)["torso.0.weight"][:, member] for m in before.moments[member]]
        if keeps:
            assert not changes[member].any()
            assert torch.equal(after.moments[member], before.moments[member])
            continue
        assert torch.equal(column, fresh["torso.0.weight"][:, member])
        assert all(value.any() for value in old)
        assert not any(value.any() for value in moments)
        # Stored as [6 units, 8 inputs]; that of a unit which is dormant itself is fresh.
        row, drawn = (p["advantage.hidden.weight"][:, member] for p in (new, fresh))
        assert ((row == 0) | (row == drawn)).all()
        assert (row == 0).any()
    assert torch.equal(after.target, before.target)
    assert torch.equal(after.corrections, before.corrections)
    unchanged = ~changes[:, None].expand_as(after.moments) & (after.moments != 0)
    assert torch.equal(after.moments[unchanged], before.moments[unchanged])


def test_members_are_recycled_as_each_alone() -> None:
    learning = three()
    obs = with_dead_units(learning)
    state = copied(learning.state)
    learning.recycle(obs.numpy(), Randomness(SEEDS, Purpose.resets), [False] * 3, 0.1)
    for member, seed in enumerate(SEEDS):
        alone = one(seed)
        alone.load(LearnerState(*(tensor[member : member + 1] for tensor in state)))
        alone.recycle(
            obs[member : member + 1].numpy(), Randomness([seed], Purpose.resets), [False], 0.1
        )
        torch.testing.assert_close(
            alone.state.parameters[0], learning.state.parameters[member], rtol=0, atol=1e-15
        )


def test_each_reset_draws_new_numbers_for_each_member() -> None:
    agent = agent_of(MLP)
    learning, weights = learner([agent] * 3, SEEDS), Randomness(SEEDS, Purpose.resets)
    learning.reset(weights, [False] * 3)
    first = learning.state.parameters.clone()
    learning.reset(weights, [False] * 3)
    second = learning.state.parameters
    last = torch.cat(
        [
            torch.full((size({name: parameter}),), name.startswith("advantage"))
            for name, parameter in agent.layout.items()
        ]
    )
    assert torch.equal(first[:, ~last], second[:, ~last])
    assert not (first[:, last] == second[:, last]).any()
    assert not (first[0, last] == first[1, last]).any()
    for member, seed in enumerate(SEEDS):
        alone = learner([agent], [seed])
        alone.reset(Randomness([seed], Purpose.resets), [False])
        assert torch.equal(alone.state.parameters[0], first[member])


@pytest.mark.parametrize("seeds", [[4], SEEDS])
def test_dormant_units_are_counted_for_each_member(seeds: list[int]) -> None:
    agent = agent_of(mlp(8, 8))
    learning, obs = learner([agent] * len(seeds), seeds), observations(len(seeds), 50)
    parameters = learning.state.parameters.clone()
    for member in range(len(seeds)):
        p = views(parameters[member], agent.layout)
        p["torso.0.weight"][:] = 1
        p["torso.0.bias"][:] = 9
        p["advantage.hidden.weight"][:] = 1
        p["advantage.hidden.bias"][:] = 0
        p["torso.0.bias"][: member + 1] = -1000  # these never react
    learning.load(learning.state._replace(parameters=parameters))
    share = [(member + 1) / 16 for member in range(len(seeds))]
    assert learning.dormant(obs).tolist() == share


@pytest.mark.parametrize(
    ("network", "head"),
    [(Table(4, None, None), HUBER), (mlp(), HUBER), (NOISY, IQN), (gru(), HUBER)],
)
def test_dormant_units_are_a_share_and_none_where_nothing_is_hidden(
    network: Network, head: Head
) -> None:
    (share,) = one(0, network, head).dormant(observations(1))
    assert 0 <= share < 1
    if not isinstance(network, Mlp) or not network.widths:
        assert share == 0


def matrix(p: dict[str, Tensor], name: str) -> Tensor:
    """Return a layer's weight as [inputs, outputs]; a layer that narrows stores its transpose."""
    weight = p[f"{name}.weight"]
    return weight if weight.shape[1] == len(p[f"{name}.bias"]) else weight.T


SPECTRAL = mlp(8, 6, spectral_norm=True)


def test_an_update_takes_one_step_of_power_iteration() -> None:
    learning, layout = one(0, SPECTRAL), agent_of(SPECTRAL).layout
    before = views(learning.state.parameters[0].clone(), layout)
    updated(learning, 1)
    after = views(learning.state.parameters[0], layout)
    vectors = [name for name in before if name.endswith(".singular_vector")]
    assert vectors == ["torso.0.singular_vector", "advantage.hidden.singular_vector"]
    for name in vectors:
        weight = matrix(after, name.removesuffix(".singular_vector"))  # after the step
        left = weight @ before[name]
        right = left @ weight  # in proportion to W' W v, one power iteration
        torch.testing.assert_close(after[name], right / right.norm())


def test_singular_vectors_converge_while_learning() -> None:
    learning = one(0, SPECTRAL, optimizer=replace(ADAM, lr=1e-9))
    updated(learning, 300)
    p = views(learning.state.parameters[0], agent_of(SPECTRAL).layout)
    for name in ("torso.0", "advantage.hidden"):
        _, values, right = torch.linalg.svd(matrix(p, name))
        assert (right[0] @ p[f"{name}.singular_vector"]).abs().item() == pytest.approx(1, abs=1e-6)
        longest = (matrix(p, name) @ p[f"{name}.singular_vector"]).norm().item()
        assert longest == pytest.approx(values[0].item())


def test_the_state_is_changed_in_place() -> None:
    learning, other = one(), one(7)
    updated(other, 3)
    kept, state = tuple(learning.state), learning.state
    places = [tensor.data_ptr() for tensor in kept]
    for change, changed in (
        (lambda: updated(learning, 2), {"parameters", "moments", "corrections"}),
        (lambda: learning.polyak_update([0.5]), {"target"}),
        (
            lambda: learning.reset(Randomness([0], Purpose.resets), [False]),
            {"parameters", "target", "moments", "corrections"},
        ),
        (lambda: learning.load(other.state), set(LearnerState._fields)),
    ):
        before = copied(state)
        change()
        fields = zip(LearnerState._fields, before, state, strict=True)
        assert {name for name, old, new in fields if not torch.equal(old, new)} == changed
        assert all(map(torch.equal, learning.state, kept))
        assert [tensor.data_ptr() for tensor in learning.state] == places


def test_a_learner_continues_from_the_state_of_another_bit_for_bit_and_without_sharing() -> None:
    first, second = one(1, NOISY), one(2, NOISY)
    updated(first, 4)
    second.load(first.state)
    assert all(map(torch.equal, first.state, second.state))
    updated(first, 3)
    assert not torch.equal(first.state.parameters, second.state.parameters)
    assert second.state.corrections[0].tolist() == pytest.approx([1 - 0.9**4, 1 - 0.999**4])
    updated(second, 3)
    assert all(map(torch.equal, first.state, second.state))


@pytest.mark.parametrize("seeds", [[4], SEEDS])
def test_an_update_adds_to_each_members_metrics_and_returns_the_errors_of_each_sample(
    seeds: list[int],
) -> None:
    learning = learner([agent_of(NOISY)] * len(seeds), seeds)
    batches, factors = [random_batch(seed, len(seeds)) for seed in (0, 1)], [1.0] * len(seeds)
    errors = learning.update_on_batch(batches[0], noise_of(seeds), factors)
    assert learning.metrics.shape == (len(seeds), len(Metrics._fields))
    assert errors.loss.shape == errors.td_error.shape == (len(seeds), 16)
    kept = [tensor.clone() for tensor in errors]
    learning.update_on_batch(batches[1], noise_of(seeds), factors)
    assert all(map(torch.equal, errors, kept))  # the next update leaves them unchanged


def test_metrics_are_summed_until_they_are_set_to_zero() -> None:
    through, in_parts = one(3), one(3)
    parts = []
    for count in range(3):
        updated(through, 1, count)
        updated(in_parts, 1, count)
        parts.append(in_parts.metrics.clone())
        in_parts.metrics.zero_()
    assert len({part[0, 1].item() for part in parts}) == 3
    torch.testing.assert_close(through.metrics, sum(parts), rtol=1e-12, atol=0)


def test_a_factor_of_the_learning_rate_holds_only_for_its_update() -> None:
    sgd, batch = Sgd(0.1, CONSTANT, None, 0.0), random_batch(0, 1)
    moved = []
    for factor in (1.0, 0.5, 0.5, 1.0, 0.25):
        learning = one(optimizer=sgd)
        for before in (0.75, 1.0):  # factors of earlier updates have no effect
            learning.load(one(optimizer=sgd).state)
            learning.update_on_batch(batch, noise_of([0]), [before])
        learning.load(one(optimizer=sgd).state)
        start = learning.state.parameters.clone()
        learning.update_on_batch(batch, noise_of([0]), [factor])
        moved.append((learning.state.parameters - start) / factor)
    for movement in moved[1:]:
        torch.testing.assert_close(movement, moved[0], rtol=1e-9, atol=1e-15)


def test_values_of_many_observations_do_not_use_the_compiled_function_for_acting() -> None:
    shapes: list[tuple[int, ...]] = []

    def compiler(function: Any, fixed: Any, *_: object) -> Any:
        def recorded(*changing: Any) -> Any:
            shapes.append(changing[0].shape)
            return function(*fixed, *changing)

        return recorded

    random = [np.random.default_rng(0)]
    learning = CompiledLearner([agent_of(MLP)], random, torch.float64, CPU, None, compiler)
    obs = np.random.default_rng(1).normal(size=(1, 7, 2))
    values = learning.values(obs, noise_of([0]))
    assert not shapes
    acted, _ = learning.act(obs, np.zeros((1, 7, 0)), noise_of([0]))
    assert shapes == [(1, 7, 2)]
    np.testing.assert_array_equal(values, acted)


def three() -> Learner:
    """Return three members that have learned a little, each from its own seed."""
    learning, noise = learner([agent_of(MLP)] * 3, SEEDS), noise_of(SEEDS)
    for batch in range(3):
        learning.update_on_batch(random_batch(batch, 3), noise, [1.0] * 3)
    return learning


@pytest.mark.parametrize("repeats", [1, 3])
def test_each_members_learning_rate_has_its_own_factor(repeats: int) -> None:
    sgd, factors = Sgd(0.1, CONSTANT, None, 0.0), [1.0, 0.0, 0.25]
    agents = [agent_of(MLP, optimizer=sgd)] * 3
    learning, plain = learner(agents, SEEDS), learner(agents, SEEDS)
    for _ in range(repeats):
        learning.load(plain.state)
        learning.update_on_batch(random_batch(0, 3), noise_of(SEEDS), factors)
    start = plain.state.parameters.clone()
    plain.update_on_batch(random_batch(0, 3), noise_of(SEEDS), [1.0] * 3)
    moved, whole = learning.state.parameters - start, plain.state.parameters - start
    assert whole.abs().amax(1).min() > 0
    expected = whole * torch.tensor(factors, dtype=torch.float64)[:, None]
    torch.testing.assert_close(moved, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("taus", [[0.25, 0.0, 1.0], [0.0, 0.0, 0.5], [0.5] * 3, [0.0] * 3])
def test_each_target_moves_its_own_share_of_the_way(taus: list[float]) -> None:
    learning = three()
    before, parameters = learning.state.target.clone(), learning.state.parameters
    assert not (before == parameters).all(1).any()
    learning.polyak_update(taus)
    for member, tau in enumerate(taus):
        expected = before[member] + tau * (parameters[member] - before[member])
        torch.testing.assert_close(learning.state.target[member], expected, rtol=0, atol=1e-15)
        if tau in (0.0, 1.0):  # a copy is exact
            exact = parameters if tau else before
            assert torch.equal(learning.state.target[member], exact[member])


@pytest.mark.parametrize("spared", [[False, True, False], [True, True, False], [True] * 3])
def test_a_reset_spares_members_and_draws_the_same_for_the_others(spared: list[bool]) -> None:
    learning, other = three(), three()
    before = copied(learning.state)
    learning.reset(Randomness(SEEDS, Purpose.resets), spared)
    other.reset(Randomness(SEEDS, Purpose.resets), [False] * 3)
    for member, kept in enumerate(spared):
        for after, old, fresh in zip(learning.state, before, other.state, strict=True):
            assert torch.equal(after[member], (old if kept else fresh)[member])


@pytest.mark.parametrize("member", [0, 1, 2])
def test_loading_the_state_of_one_member_leaves_the_others_unchanged(
    member: int,
) -> None:
    learning, alone = three(), one(9)
    updated(alone, 5)
    before = copied(learning.state)
    learning.load(LearnerState(*(tensor[0] for tensor in alone.state)), member)
    others = [other for other in range(3) if other != member]
    for after, old, loaded in zip(learning.state, before, alone.state, strict=True):
        assert torch.equal(after[member], loaded[0])
        assert torch.equal(after[others], old[others])


@pytest.mark.parametrize(
    "words",
    [
        ("agent=iqn", "head.atoms=3"),
        ("agent=rainbow_iqn", "head.atoms=3", "replay.batch_size=5"),
        ("agent=drqn", "head=iqn", "head.atoms=3", "network.units=4", "network.length=3",
         "network.burn_in=2", "replay.n_step=2"),
    ],
    ids=lambda words: words[0],
)  # fmt: skip
def test_learning_from_replay_is_learning_from_the_batch_that_it_samples(
    settings_of: Callable[..., Settings], words: tuple[str, ...]
) -> None:
    settings = settings_of(*words, "network.widths=[6,5]", "replay.capacity=100", "seed=4")
    agents, run = build_run([settings])
    for _ in range(50):
        run.action = act(settings, run, np.ones((1, 1)))
        store(run, run.envs.step(run.action))
    run.envs.close()
    learning = Learner(agents, Randomness([4], Purpose.weights), torch.float32, CPU)
    noises, storage = [noise_of([4]), noise_of([4])], run.sampler.storage
    for _ in range(3):
        draw = run.sampler.draw(run.random.replay.uniform, [0.5])
        batch = run.sampler.batch(storage, run.sampler.sample(storage, draw))
        expected = run.learner.update(draw, noises[0], [0.7])
        errors = learning.update_on_batch(batch, noises[1], [0.7])
        assert all(map(torch.equal, errors, expected))
    assert all(map(torch.equal, learning.state, run.learner.state))
    assert torch.equal(learning.metrics, run.learner.metrics)
    assert states(noises[0]) == states(noises[1])
