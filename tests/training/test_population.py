from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from test_learner import ADAM, CPU, HUBER, MLP, NOISY, PLANE, mlp, random_batch
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.atari_cnns import Nature
from dqn_cli.agent.batch import Batch
from dqn_cli.agent.heads import Scalar
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.optimizers import Optimizer, RmsProp, Schedule, Sgd
from dqn_cli.agent.parameters import initial
from dqn_cli.agent.spaces import Spaces
from dqn_cli.training.population import LearnerState, Population, ReadyMade
from dqn_cli.training.random_inputs import Numbers, numbers_for
from dqn_cli.training.randomness import Purpose, Randomness

DOUBLE = torch.float64
RATES = (1e-3, 1e-2)


def agents(network: Mlp = MLP) -> list[Agent]:
    return [Agent(PLANE, network, Scalar(), HUBER, replace(ADAM, lr=rate)) for rate in RATES]


def population(network: Mlp = MLP) -> Population:
    return Population(agents(network), ReadyMade(), DOUBLE, CPU)


def state(network: Mlp = MLP) -> LearnerState:
    layout = agents(network)[0].layout
    parameters = torch.stack([initial(layout, np.random.default_rng(seed)) for seed in (1, 2)])
    moments = torch.zeros(2, 2, parameters.shape[1], dtype=DOUBLE)
    return LearnerState(parameters, parameters.clone(), moments, torch.zeros(2, 2, dtype=DOUBLE))


def numbers(network: Mlp = MLP) -> Numbers:
    like = torch.zeros(2, dtype=DOUBLE)
    return numbers_for(agents(network)[0].model, 16, Randomness([1, 2], Purpose.noise), like)


def updated(members: Population, scalars: Tensor, network: Mlp = MLP) -> LearnerState:
    after = state(network)
    ones = torch.ones(2, dtype=DOUBLE)
    members.update(
        after.step,
        after.target,
        none_yet(2),
        scalars,
        (),
        random_batch(0, 2),
        numbers(network),
        ones,
    )
    return after


def test_scalars_are_rows_by_key_and_columns_by_member() -> None:
    keys = list(agents()[0].scalars)
    assert population().scalars[keys.index("optimizer.lr")].tolist() == list(RATES)
    assert population().scalars.shape == (len(keys), 2)


def test_an_update_computes_with_the_scalars_it_is_given() -> None:
    members = population()
    own = updated(members, members.scalars)
    assert all(map(torch.equal, own, updated(members, members.scalars.clone())))
    doubled = members.scalars.clone()
    doubled[list(agents()[0].scalars).index("optimizer.lr")] *= 2
    start, other = state().parameters, updated(members, doubled)
    torch.testing.assert_close(other.parameters - start, 2 * (own.parameters - start))


def test_a_member_computes_the_same_whoever_is_beside_it() -> None:
    together = updated(population(NOISY), population(NOISY).scalars, NOISY)
    for member, agent in enumerate(agents(NOISY)):
        only = slice(member, member + 1)
        alone = Population([agent], ReadyMade(), DOUBLE, CPU)
        after = LearnerState(*(each[only].clone() for each in state(NOISY)))
        batch = type(random_batch(0, 2))(*(each[only] for each in random_batch(0, 2)))
        mine = Numbers(*(each[only] for each in numbers(NOISY)))
        one = torch.ones(1, dtype=DOUBLE)
        alone.update(after.step, after.target, none_yet(1), alone.scalars, (), batch, mine, one)
        for one, all_of_them in zip(after, together, strict=True):
            torch.testing.assert_close(one[0], all_of_them[member], rtol=1e-12, atol=1e-12)


class InTurn(Mlp):
    """An Mlp whose members are computed one after the other."""

    @property
    def is_large(self) -> bool:
        return True


@pytest.mark.parametrize("network", [MLP, NOISY, mlp(8, 6, layer_norm=True, spectral_norm=True)])
def test_members_in_turn_compute_what_they_compute_at_once(network: Mlp) -> None:
    large = InTurn(**vars(network))
    at_once, in_turn = population(network), population(large)
    states, ones = [state(network), state(network)], torch.ones(2, dtype=DOUBLE)
    for count in range(5):
        for members, mine in zip((at_once, in_turn), states, strict=True):
            batch, draws = random_batch(count, 2), numbers(network)
            members.update(
                mine.step, mine.target, none_yet(2), members.scalars, (), batch, draws, ones
            )
    for one, other in zip(*states, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)
    parameters, obs = states[0].parameters, torch.randn(2, 7, 2, dtype=DOUBLE)
    noise = torch.randn(2, agents(network)[0].model.noise_size, dtype=DOUBLE)
    torch.testing.assert_close(in_turn.dormant(parameters, obs), at_once.dormant(parameters, obs))
    empty = torch.zeros(2, 7, 0, dtype=DOUBLE)
    acted = [
        members.act(parameters, members.scalars, obs, empty, noise)
        for members in (at_once, in_turn)
    ]
    torch.testing.assert_close(*acted, rtol=1e-12, atol=1e-12)


TINY = Nature([3], False, False, False, False, 0.5, [2], False)
IMAGE = Spaces((2, 8, 12), (0.0,), (255.0,), False, (3,), (0,), False, 2)


def pictures(seed: int, members: int, batch: int = 4) -> Batch:
    """Transitions between pictures of bytes."""
    random, plain = np.random.default_rng(seed), random_batch(seed, members)
    plain = Batch(*(each[:, :batch] for each in plain))
    obs, next_obs = random.integers(256, size=(2, members, batch, *IMAGE.observation_shape))
    both = (torch.from_numpy(each.astype(np.uint8)) for each in (obs, next_obs))
    return plain._replace(obs=next(both), next_obs=next(both))


def of_pictures(optimizers: Sequence[Optimizer]) -> tuple[Population, LearnerState]:
    own = [Agent(IMAGE, TINY, Scalar(), HUBER, optimizer) for optimizer in optimizers]
    draws = [np.random.default_rng(seed) for seed in range(len(own))]
    start = torch.stack([initial(own[0].layout, random) for random in draws])
    moments, zeros = optimizers[0].moments, torch.zeros(len(own), dtype=DOUBLE)
    corrections = zeros.new_zeros(len(own), moments)
    empty = zeros.new_zeros(len(own), moments, start.shape[1])
    members = Population(own, ReadyMade(), DOUBLE, CPU)
    return members, LearnerState(start, start.clone(), empty, corrections)


class Seen(NamedTuple):
    """Of one update."""

    metrics: torch.Tensor
    losses: torch.Tensor
    td_errors: torch.Tensor


def none_yet(members: int) -> torch.Tensor:
    return torch.zeros(members, len(Metrics._fields), dtype=DOUBLE)


def learned(members: Population, start: LearnerState, of: slice, updates: int = 20) -> list[Seen]:
    """What so many updates on the pictures of some of three members saw, one after the other."""
    model = Agent(IMAGE, TINY, Scalar(), HUBER, ADAM).model
    zeros = torch.zeros(len(start.parameters), dtype=DOUBLE)
    noise = Randomness(list(range(3))[of], Purpose.noise)
    seen = []
    for count in range(updates):
        batch = Batch(*(each[of] for each in pictures(count, 3)))
        draws = numbers_for(model, 4, noise, zeros)
        metrics = none_yet(len(zeros))
        step, target = start.step, start.target
        surprise = members.update(
            step, target, metrics, members.scalars, (), batch, draws, zeros + 1
        )
        seen.append(Seen(metrics, *surprise))
    return seen


OPTIMIZERS = pytest.mark.parametrize(
    "optimizers",
    [
        [replace(ADAM, lr=lr) for lr in (1e-2, 1e-3, 3e-3)],
        [Sgd(lr, Schedule.constant, 0.0) for lr in (1e-2, 1e-3, 3e-3)],
        [Sgd(1e-2, Schedule.constant, momentum) for momentum in (0.0, 0.5, 0.9)],
        [RmsProp(lr, Schedule.constant, 0.9, 0.01, 0.5, True) for lr in (1e-2, 1e-3, 3e-3)],
    ],
    ids=["adam", "sgd", "momentum", "rmsprop"],
)


@OPTIMIZERS
def test_members_that_see_pictures_learn_what_each_learns_alone(
    optimizers: Sequence[Optimizer],
) -> None:
    together, state = of_pictures(optimizers)
    begun = state.parameters.clone()
    seen = learned(together, state, slice(3))
    for member, optimizer in enumerate(optimizers):
        only = slice(member, member + 1)
        alone, mine = of_pictures([optimizer])
        mine.parameters.copy_(begun[only])
        mine.target.copy_(begun[only])
        told = learned(alone, mine, only)
        for one, all_of_them in zip(mine, state, strict=True):
            torch.testing.assert_close(one, all_of_them[only], rtol=1e-12, atol=1e-12)
        for one_seen, all_seen in zip(told, seen, strict=True):
            torch.testing.assert_close(one_seen.metrics, all_seen.metrics[only])
            torch.testing.assert_close(one_seen.losses, all_seen.losses[only])
            torch.testing.assert_close(one_seen.td_errors, all_seen.td_errors[only])
        assert ((mine.parameters - begun[only]).abs() > 1e-6).double().mean() > 0.8


@OPTIMIZERS
@pytest.mark.parametrize("members", [1, 3])
def test_an_update_writes_where_it_read_and_what_it_saw_stays(
    optimizers: Sequence[Optimizer], members: int
) -> None:
    population, state = of_pictures(optimizers[:members])
    places = [each.data_ptr() for each in state]
    target = state.target.clone()
    (first,) = learned(population, state, slice(members), 1)
    kept, parameters = [each.clone() for each in first], state.parameters.clone()
    learned(population, state, slice(members), 3)
    assert [each.data_ptr() for each in state] == places
    assert torch.equal(state.target, target)
    assert not torch.equal(state.parameters, parameters)
    assert all(map(torch.equal, first, kept))


def test_acting_takes_arrays_of_any_type_and_gives_the_models_values() -> None:
    members, start = population(), state().parameters
    obs = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
    empty, none = np.zeros((2, 3, 0), np.float32), torch.zeros(2, 0, dtype=DOUBLE)
    values, after = members.act(start, members.scalars, obs, empty, none)
    assert after.shape == (2, 3, 0)
    for member, agent in enumerate(agents()):
        expected = agent.model.q(start[member], torch.from_numpy(obs[member]).double(), none[0])
        torch.testing.assert_close(values[member], expected)
