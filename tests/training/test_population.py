from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from test_learner import ADAM, CPU, DQN, HUBER, MLP, NOISY, PLANE, mlp, random_batch
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.atari_cnns import Nature
from dqn_cli.agent.batch import Batch, RandomInputs
from dqn_cli.agent.metrics import Metrics
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.optimizers import Optimizer, OptimizerState, RmsProp, Schedule, Sgd
from dqn_cli.agent.parameters import initial
from dqn_cli.training.learner import LearnerState
from dqn_cli.training.population import Population, UpdateTensors
from dqn_cli.training.random_inputs import draw_random_inputs
from dqn_cli.training.randomness import Purpose, Randomness

DOUBLE = torch.float64
RATES = (1e-3, 1e-2)
NOISE = Purpose.noise


def agents(network: Mlp = MLP) -> list[Agent]:
    return [Agent(PLANE, network, HUBER, DQN, replace(ADAM, lr=rate)) for rate in RATES]


def population(network: Mlp = MLP) -> Population:
    return Population(agents(network), DOUBLE, CPU)


def state(network: Mlp = MLP) -> LearnerState:
    layout = agents(network)[0].layout
    parameters = torch.stack([initial(layout, np.random.default_rng(seed)) for seed in (1, 2)])
    moments = torch.zeros(2, 2, parameters.shape[1], dtype=DOUBLE)
    return LearnerState(parameters, parameters.clone(), moments, torch.zeros(2, 2, dtype=DOUBLE))


def tensors_of(state: LearnerState, scalars: Tensor) -> UpdateTensors:
    """Return the tensors of an update, on the memory of a state, with metrics of zeros."""
    metrics = torch.zeros(len(state.parameters), len(Metrics._fields), dtype=DOUBLE)
    optimizer = OptimizerState(state.parameters, state.moments.unbind(1), state.corrections)
    return UpdateTensors(optimizer, state.target, metrics, scalars)


def random_inputs(network: Mlp = MLP) -> RandomInputs:
    like = torch.zeros(2, dtype=DOUBLE)
    return draw_random_inputs(agents(network)[0].model, 16, Randomness([1, 2], NOISE), like)


def updated(members: Population, scalars: Tensor, network: Mlp = MLP) -> LearnerState:
    after = state(network)
    ones = torch.ones(2, dtype=DOUBLE)
    tensors = tensors_of(after, scalars)
    members.update(tensors, random_batch(0, 2), random_inputs(network), ones)
    return after


def test_scalars_are_rows_by_key_and_columns_by_member() -> None:
    keys = list(agents()[0].scalars)
    assert population().scalars[keys.index("optimizer.lr")].tolist() == list(RATES)
    assert population().scalars.shape == (len(keys), 2)


def test_an_update_computes_with_the_scalars_it_is_given() -> None:
    members = population()
    expected = updated(members, members.scalars)
    assert all(map(torch.equal, expected, updated(members, members.scalars.clone())))
    doubled = members.scalars.clone()
    doubled[list(agents()[0].scalars).index("optimizer.lr")] *= 2
    start, other = state().parameters, updated(members, doubled)
    torch.testing.assert_close(other.parameters - start, 2 * (expected.parameters - start))


def test_a_member_does_not_depend_on_the_other_members() -> None:
    together = updated(population(NOISY), population(NOISY).scalars, NOISY)
    for member, agent in enumerate(agents(NOISY)):
        only = slice(member, member + 1)
        alone = Population([agent], DOUBLE, CPU)
        after = LearnerState(*(tensor[only].clone() for tensor in state(NOISY)))
        batch = Batch(*(tensor[only] for tensor in random_batch(0, 2)))
        random = RandomInputs(*(values[only] for values in random_inputs(NOISY)))
        tensors = tensors_of(after, alone.scalars)
        alone.update(tensors, batch, random, torch.ones(1, dtype=DOUBLE))
        for tensor, expected in zip(after, together, strict=True):
            torch.testing.assert_close(tensor[0], expected[member], rtol=1e-12, atol=1e-12)


class InTurn(Mlp):
    """Mlp whose members are computed one after the other."""

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
            tensors = tensors_of(mine, members.scalars)
            members.update(tensors, random_batch(count, 2), random_inputs(network), ones)
    for tensor, expected in zip(*states, strict=True):
        torch.testing.assert_close(tensor, expected, rtol=1e-12, atol=1e-12)
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
IMAGE = array_spaces((2, 8, 12), (0.0,), (255.0,), 3, frames=2)


def pictures(seed: int, members: int, batch: int = 4) -> Batch:
    """Return transitions between pictures of bytes."""
    random, plain = np.random.default_rng(seed), random_batch(seed, members)
    plain = Batch(*(values[:, :batch] for values in plain))
    shape = (2, members, batch, *IMAGE.observation_shape)
    obs, next_obs = torch.from_numpy(random.integers(256, size=shape).astype(np.uint8))
    return plain._replace(obs=obs, next_obs=next_obs)


def of_pictures(optimizers: Sequence[Optimizer]) -> tuple[Population, LearnerState]:
    agents = [Agent(IMAGE, TINY, HUBER, DQN, optimizer) for optimizer in optimizers]
    count, moments = len(agents), optimizers[0].moments
    weights = [np.random.default_rng(seed) for seed in range(count)]
    start = torch.stack([initial(agents[0].layout, random) for random in weights])
    corrections = torch.zeros(count, moments, dtype=DOUBLE)
    zeros = torch.zeros(count, moments, start.shape[1], dtype=DOUBLE)
    return Population(agents, DOUBLE, CPU), LearnerState(start, start.clone(), zeros, corrections)


class Results(NamedTuple):
    """Results of one update."""

    metrics: Tensor
    losses: Tensor
    td_errors: Tensor


def learned(
    members: Population, start: LearnerState, chosen: slice, updates: int = 20
) -> list[Results]:
    """Update the chosen ones of three members on pictures; return the results of each update."""
    model = Agent(IMAGE, TINY, HUBER, DQN, ADAM).model
    zeros = torch.zeros(len(start.parameters), dtype=DOUBLE)
    noise = Randomness(list(range(3))[chosen], NOISE)
    results = []
    for count in range(updates):
        batch = Batch(*(values[chosen] for values in pictures(count, 3)))
        random = draw_random_inputs(model, 4, noise, zeros)
        tensors = tensors_of(start, members.scalars)
        errors = members.update(tensors, batch, random, zeros + 1)
        results.append(Results(tensors.metrics, *errors))
    return results


OPTIMIZERS = pytest.mark.parametrize(
    "optimizers",
    [
        [replace(ADAM, lr=lr) for lr in (1e-2, 1e-3, 3e-3)],
        [Sgd(lr, Schedule.constant, None, 0.0) for lr in (1e-2, 1e-3, 3e-3)],
        [Sgd(1e-2, Schedule.constant, None, momentum) for momentum in (0.0, 0.5, 0.9)],
        [RmsProp(lr, Schedule.constant, None, 0.9, 0.01, 0.5, True) for lr in (1e-2, 1e-3, 3e-3)],
    ],
    ids=["adam", "sgd", "momentum", "rmsprop"],
)


@OPTIMIZERS
def test_members_learn_from_pictures_what_each_learns_alone(
    optimizers: Sequence[Optimizer],
) -> None:
    together, state = of_pictures(optimizers)
    start = state.parameters.clone()
    results = learned(together, state, slice(3))
    for member, optimizer in enumerate(optimizers):
        only = slice(member, member + 1)
        alone, mine = of_pictures([optimizer])
        mine.parameters.copy_(start[only])
        mine.target.copy_(start[only])
        results_alone = learned(alone, mine, only)
        for tensor, expected in zip(mine, state, strict=True):
            torch.testing.assert_close(tensor, expected[only], rtol=1e-12, atol=1e-12)
        for result, all_results in zip(results_alone, results, strict=True):
            torch.testing.assert_close(result.metrics, all_results.metrics[only])
            torch.testing.assert_close(result.losses, all_results.losses[only])
            torch.testing.assert_close(result.td_errors, all_results.td_errors[only])
        assert ((mine.parameters - start[only]).abs() > 1e-6).double().mean() > 0.8


@OPTIMIZERS
@pytest.mark.parametrize("members", [1, 3])
def test_an_update_is_in_place_and_its_results_stay(
    optimizers: Sequence[Optimizer], members: int
) -> None:
    population, state = of_pictures(optimizers[:members])
    places = [tensor.data_ptr() for tensor in state]
    target = state.target.clone()
    (first,) = learned(population, state, slice(members), 1)
    kept, parameters = [values.clone() for values in first], state.parameters.clone()
    learned(population, state, slice(members), 3)
    assert [tensor.data_ptr() for tensor in state] == places
    assert torch.equal(state.target, target)
    assert not torch.equal(state.parameters, parameters)
    assert all(map(torch.equal, first, kept))


def test_acting_takes_arrays_of_any_type_and_returns_the_models_values() -> None:
    members, start = population(), state().parameters
    obs = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
    empty, none = np.zeros((2, 3, 0), np.float32), torch.zeros(2, 0, dtype=DOUBLE)
    values, next_state = members.act(start, members.scalars, obs, empty, none)
    assert next_state.shape == (2, 3, 0)
    for member, agent in enumerate(agents()):
        expected = agent.model.q(start[member], torch.from_numpy(obs[member]).double(), none[0])
        torch.testing.assert_close(values[member], expected)
