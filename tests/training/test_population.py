from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from test_learner import ADAM, CPU, HUBER, MLP, NOISY, PLANE, random_batch
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.heads import Scalar
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.parameters import initial
from dqn_cli.training.draws import Numbers, numbers_for
from dqn_cli.training.population import LearnerState, Population
from dqn_cli.training.randomness import Purpose, Randomness

DOUBLE = torch.float64
RATES = (1e-3, 1e-2)


def agents(network: Mlp = MLP) -> list[Agent]:
    return [Agent(PLANE, network, Scalar(), HUBER, replace(ADAM, lr=rate)) for rate in RATES]


def population(network: Mlp = MLP) -> Population:
    return Population(agents(network), lambda sources, drawn: drawn, DOUBLE, CPU)  # type: ignore[arg-type, return-value]


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
    members.update(after, scalars, (), random_batch(0, 2), numbers(network), ones)
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
        alone = Population([agent], lambda sources, drawn: drawn, DOUBLE, CPU)  # type: ignore[arg-type, return-value]
        after = LearnerState(*(each[only].clone() for each in state(NOISY)))
        batch = type(random_batch(0, 2))(*(each[only] for each in random_batch(0, 2)))
        mine = Numbers(*(each[only] for each in numbers(NOISY)))
        alone.update(after, alone.scalars, (), batch, mine, torch.ones(1, dtype=DOUBLE))
        for one, all_of_them in zip(after, together, strict=True):
            torch.testing.assert_close(one[0], all_of_them[member], rtol=1e-12, atol=1e-12)


def test_acting_takes_arrays_of_any_type_and_gives_the_models_values() -> None:
    members, start = population(), state().parameters
    obs = np.arange(12, dtype=np.uint8).reshape(2, 3, 2)
    empty, none = np.zeros((2, 3, 0), np.float32), torch.zeros(2, 0, dtype=DOUBLE)
    values, after = members.act(start, members.scalars, obs, empty, none)
    assert after.shape == (2, 3, 0)
    for member, agent in enumerate(agents()):
        expected = agent.model.q(start[member], torch.from_numpy(obs[member]).double(), none[0])
        torch.testing.assert_close(values[member], expected)
