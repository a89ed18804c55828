from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from array_spaces import array_spaces
from numpy.typing import NDArray
from torch import Tensor

from dqn_cli.agent.categorical import C51
from dqn_cli.agent.exploration import best_action, legal_values
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.model import Model
from dqn_cli.agent.networks import Mlp, Network
from dqn_cli.agent.parameters import size, views
from dqn_cli.agent.quantiles import Iqn, Qr
from dqn_cli.agent.recurrent import Gru, Lstm, Recurrent
from dqn_cli.evaluation.greedy_policy import GreedyPolicy

Array = NDArray[Any]

SPACES = array_spaces((2,), (-1, -1), (1, 1), 3)

WEIGHTS = [[1.0, 2.0, -1.0], [0.0, -4.0, 3.0]]  # [observation, action]
BIASES = [0.0, 0.5, 0.0]


def policy(dtype: torch.dtype = torch.float32) -> GreedyPolicy:
    model = Model(SPACES, Mlp([], False, False, False, False, 0.5), Scalar(Loss.huber))
    parameters = torch.tensor([*WEIGHTS[0], *WEIGHTS[1], *BIASES], dtype=dtype)
    assert parameters.shape == (size(model.layout),)
    return GreedyPolicy(model, parameters)


def episode_start(*rows: bool) -> Array:
    return np.array(rows)


# Values by hand: x0 * first row + x1 * second row + biases.
CASES = [
    ([1, 0], [True, True, True], 1),  # 1, 2.5, -1
    ([1, 0], [True, False, True], 0),
    ([1, 0], [False, False, True], 2),
    ([0, 1], [True, True, True], 2),  # 0, -3.5, 3
    ([0, 1], [True, True, False], 0),
    ([-1, -1], [True, True, True], 1),  # -1, 2.5, -2
    ([-1, -1], [True, False, True], 0),
]


@pytest.mark.parametrize("begins", [True, False])
@pytest.mark.parametrize(("obs", "mask", "best"), CASES)
def test_the_best_legal_action_is_taken(
    obs: list[float], mask: list[bool], best: int, begins: bool
) -> None:
    actions = policy()(np.array([obs], np.float32), np.array([mask]), episode_start(begins))
    assert actions.tolist() == [best]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("stored", [np.float32, np.float64, np.uint8])
def test_each_row_of_a_batch_gets_its_action_in_any_precision(
    dtype: torch.dtype, stored: Any
) -> None:
    cases = [case for case in CASES if min(case[0]) >= 0]
    obs, mask = (np.array([case[i] for case in cases]) for i in range(2))
    actions = policy(dtype)(obs.astype(stored), mask, np.ones(len(cases), bool))
    assert actions.tolist() == [best for *_, best in cases]


def test_the_same_observation_gets_the_same_action() -> None:
    greedy = policy()
    obs, mask = np.ones((1, 2), np.float32), np.ones((1, 3), bool)
    assert len({int(greedy(obs, mask, episode_start(False))[0]) for _ in range(50)}) == 1


def test_no_gradient_is_kept() -> None:
    greedy = policy()
    greedy.parameters.requires_grad_()
    greedy(np.ones((1, 2), np.float32), np.ones((1, 3), bool), episode_start(True))
    assert greedy.parameters.grad is None


def random_model(network: Network, head: Head) -> tuple[Model, Tensor]:
    """Returns a model without biases, whose best action depends on the observation."""
    model = Model(SPACES, network, head)
    parameters = torch.from_numpy(np.random.default_rng(1).normal(size=size(model.layout)))
    for name, view in views(parameters, model.layout).items():
        if name.endswith(".bias"):
            view.zero_()
    return model, parameters


@pytest.mark.parametrize("head", [Scalar(Loss.huber), C51(5, -1.0, 1.0), Qr(4), Iqn(4, 6)])
@pytest.mark.parametrize("noisy", [False, True])
def test_the_action_is_the_models_best_one_without_noise(head: Head, noisy: bool) -> None:
    model, parameters = random_model(Mlp([16, 8], False, False, True, noisy, 0.5), head)
    obs, mask = np.random.default_rng(1).normal(size=(40, 2)), np.ones((40, 3), bool)
    with torch.no_grad():
        q = model.q(parameters, torch.from_numpy(obs), parameters.new_zeros(0)).numpy()
    actions = GreedyPolicy(model, parameters)(obs, mask, np.ones(40, bool))
    assert actions.tolist() == q.argmax(1).tolist()
    assert len(set(actions.tolist())) > 1


RECURRENT = [
    Gru([], False, False, False, False, 0.5, [], 4, 8, 2, 3),
    Lstm([], False, False, True, False, 0.5, [], 4, 8, 2, 3),
]
TIME, ROWS = 60, 3


@pytest.fixture
def episodes() -> tuple[Array, Array, Array]:
    """Returns observations, masks and episode starts, each [time, rows, ...]."""
    random = np.random.default_rng(2)
    obs = random.normal(size=(TIME, ROWS, 2))
    mask = random.random((TIME, ROWS, 3)) < 0.7
    mask[..., 1] |= ~mask.any(-1)
    begins = random.random((TIME, ROWS)) < 0.2
    begins[0] = True
    return obs, mask, begins


@pytest.mark.parametrize("network", RECURRENT)
@pytest.mark.parametrize("head", [Scalar(Loss.huber), Iqn(4, 6)])
def test_a_recurrent_policy_keeps_the_state_of_each_rows_episode(
    network: Recurrent, head: Head, episodes: tuple[Array, Array, Array]
) -> None:
    model, parameters = random_model(network, head)
    greedy = GreedyPolicy(model, parameters)
    noise = parameters.new_zeros(0)
    memoryless = 0
    for row in range(ROWS):
        state = parameters.new_zeros(1, model.state_size)
        for obs, mask, begins in zip(*(values[:, row] for values in episodes), strict=True):
            if begins:
                state = torch.zeros_like(state)
            one = torch.from_numpy(obs)[None]
            q, state = model.act(parameters, one, state, noise)
            without, _ = model.act(parameters, one, torch.zeros_like(state), noise)
            actions = greedy(obs[None], mask[None], episode_start(bool(begins)))
            assert actions.tolist() == best_action(legal_values(q.numpy(), mask[None])).tolist()
            others = best_action(legal_values(without.numpy(), mask[None]))
            memoryless += others.tolist() != actions.tolist()
    assert memoryless > 10  # so a policy without a state would fail


@pytest.mark.parametrize("network", RECURRENT)
def test_rows_of_a_batch_act_as_each_does_alone(
    network: Recurrent, episodes: tuple[Array, Array, Array]
) -> None:
    model, parameters = random_model(network, Scalar(Loss.huber))
    greedy = GreedyPolicy(model, parameters)
    together = [greedy(*now).tolist() for now in zip(*episodes, strict=True)]
    for row in range(ROWS):
        alone = GreedyPolicy(model, parameters)
        rows = zip(*(values[:, [row]] for values in episodes), strict=True)
        assert [int(alone(*now)[0]) for now in rows] == [now[row] for now in together]


def test_a_new_recurrent_policy_starts_with_a_zero_state(
    episodes: tuple[Array, Array, Array],
) -> None:
    obs, mask, begins = episodes
    model, parameters = random_model(RECURRENT[0], Scalar(Loss.huber))
    untold = begins.copy()
    untold[0] = False
    told_policy, untold_policy = (GreedyPolicy(model, parameters) for _ in range(2))
    for told, now in zip(zip(obs, mask, begins, strict=True), untold, strict=True):
        assert untold_policy(*told[:2], now).tolist() == told_policy(*told).tolist()
