from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from dqn_cli.agent.categorical import C51
from dqn_cli.agent.exploration import best_action, legal_values
from dqn_cli.agent.heads import Head, Scalar
from dqn_cli.agent.model import Model
from dqn_cli.agent.networks import Mlp, Network
from dqn_cli.agent.parameters import size, views
from dqn_cli.agent.quantiles import Iqn, Qr
from dqn_cli.agent.recurrent import Gru, Lstm, Recurrent
from dqn_cli.agent.spaces import Spaces
from dqn_cli.evaluation.greedy_policy import GreedyPolicy

Array = NDArray[Any]

SPACES = Spaces((2,), (-1, -1), (1, 1), False, (3,), (0,), False, 0)

WEIGHTS = [[1.0, 2.0, -1.0], [0.0, -4.0, 3.0]]  # [observation, action]
BIASES = [0.0, 0.5, 0.0]


def policy(dtype: torch.dtype = torch.float32) -> GreedyPolicy:
    model = Model(SPACES, Mlp([], False, False, False, False, 0.5), Scalar())
    parameters = torch.tensor([*WEIGHTS[0], *WEIGHTS[1], *BIASES], dtype=dtype)
    assert parameters.shape == (size(model.layout),)
    return GreedyPolicy(model, parameters)


def fresh(*rows: bool) -> Array:
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
    found = policy()(np.array([obs], np.float32), np.array([mask]), fresh(begins))
    assert found.tolist() == [best]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("stored", [np.float32, np.float64, np.uint8])
def test_a_batch_is_answered_row_by_row_in_any_precision(dtype: torch.dtype, stored: Any) -> None:
    cases = [case for case in CASES if min(case[0]) >= 0]
    obs, mask = (np.array([case[i] for case in cases]) for i in range(2))
    found = policy(dtype)(obs.astype(stored), mask, np.ones(len(cases), bool))
    assert found.tolist() == [best for *_, best in cases]


def test_the_same_question_has_the_same_answer() -> None:
    greedy = policy()
    obs, mask = np.ones((1, 2), np.float32), np.ones((1, 3), bool)
    assert len({int(greedy(obs, mask, fresh(False))[0]) for _ in range(50)}) == 1


def test_no_gradient_is_kept() -> None:
    greedy = policy()
    greedy.parameters.requires_grad_()
    greedy(np.ones((1, 2), np.float32), np.ones((1, 3), bool), fresh(True))
    assert greedy.parameters.grad is None


def random_model(network: Network, head: Head) -> tuple[Model, Tensor]:
    """Without biases, so that the best action depends on what is observed."""
    model = Model(SPACES, network, head)
    parameters = torch.from_numpy(np.random.default_rng(1).normal(size=size(model.layout)))
    for name, view in views(parameters, model.layout).items():
        if name.endswith(".bias"):
            view.zero_()
    return model, parameters


@pytest.mark.parametrize("head", [Scalar(), C51(5, -1.0, 1.0), Qr(4), Iqn(4, 6)])
@pytest.mark.parametrize("noisy", [False, True])
def test_it_takes_the_models_best_action_without_noise(head: Head, noisy: bool) -> None:
    model, parameters = random_model(Mlp([16, 8], False, False, True, noisy, 0.5), head)
    obs, mask = np.random.default_rng(1).normal(size=(40, 2)), np.ones((40, 3), bool)
    with torch.no_grad():
        q = model.q(parameters, torch.from_numpy(obs), parameters.new_zeros(0)).numpy()
    found = GreedyPolicy(model, parameters)(obs, mask, np.ones(40, bool))
    assert found.tolist() == q.argmax(1).tolist()
    assert len(set(found.tolist())) > 1


RECURRENT = [
    Gru([], False, False, False, False, 0.5, 8, 2, 3),
    Lstm([], False, False, True, False, 0.5, 8, 2, 3),
]
TIME, ROWS = 60, 3


@pytest.fixture
def episodes() -> tuple[Array, Array, Array]:
    """Observations, masks and where episodes begin, each [time, rows, ...]."""
    random = np.random.default_rng(2)
    obs = random.normal(size=(TIME, ROWS, 2))
    mask = random.random((TIME, ROWS, 3)) < 0.7
    mask[..., 1] |= ~mask.any(-1)
    begins = random.random((TIME, ROWS)) < 0.2
    begins[0] = True
    return obs, mask, begins


@pytest.mark.parametrize("network", RECURRENT)
@pytest.mark.parametrize("head", [Scalar(), Iqn(4, 6)])
def test_a_recurrent_policy_remembers_each_rows_episode_and_nothing_before_it(
    network: Recurrent, head: Head, episodes: tuple[Array, Array, Array]
) -> None:
    model, parameters = random_model(network, head)
    greedy = GreedyPolicy(model, parameters)
    nothing = parameters.new_zeros(0)
    memoryless = 0
    for row in range(ROWS):
        state = parameters.new_zeros(1, model.state_size)
        for obs, mask, begins in zip(*(each[:, row] for each in episodes), strict=True):
            if begins:
                state = torch.zeros_like(state)
            one = torch.from_numpy(obs)[None]
            q, state = model.act(parameters, one, state, nothing)
            without, _ = model.act(parameters, one, torch.zeros_like(state), nothing)
            found = greedy(obs[None], mask[None], fresh(bool(begins)))
            assert found.tolist() == best_action(legal_values(q.numpy(), mask[None])).tolist()
            others = best_action(legal_values(without.numpy(), mask[None]))
            memoryless += others.tolist() != found.tolist()
    assert memoryless > 10  # a policy that forgets would have been found out


@pytest.mark.parametrize("network", RECURRENT)
def test_rows_side_by_side_do_what_each_does_alone(
    network: Recurrent, episodes: tuple[Array, Array, Array]
) -> None:
    model, parameters = random_model(network, Scalar())
    greedy = GreedyPolicy(model, parameters)
    together = [greedy(*now).tolist() for now in zip(*episodes, strict=True)]
    for row in range(ROWS):
        alone = GreedyPolicy(model, parameters)
        rows = zip(*(each[:, [row]] for each in episodes), strict=True)
        assert [int(alone(*now)[0]) for now in rows] == [now[row] for now in together]


def test_a_recurrent_policy_begins_with_an_empty_memory_even_if_not_told(
    episodes: tuple[Array, Array, Array],
) -> None:
    obs, mask, begins = episodes
    model, parameters = random_model(RECURRENT[0], Scalar())
    untold = begins.copy()
    untold[0] = False
    told_policy, untold_policy = (GreedyPolicy(model, parameters) for _ in range(2))
    for told, now in zip(zip(obs, mask, begins, strict=True), untold, strict=True):
        assert untold_policy(*told[:2], now).tolist() == told_policy(*told).tolist()
