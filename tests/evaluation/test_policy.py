from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.optimizers import Schedule, Sgd
from dqn_cli.agent.parameters import size
from dqn_cli.agent.spaces import Spaces
from dqn_cli.agent.updates import Dqn
from dqn_cli.evaluation.policy import GreedyPolicy

SPACES = Spaces((2,), (-1, -1), (1, 1), False, (3,), (0,), False)

WEIGHTS = [[1.0, 2.0, -1.0], [0.0, -4.0, 3.0]]  # [observation, action]
BIASES = [0.0, 0.5, 0.0]


def policy(dtype: torch.dtype = torch.float32) -> GreedyPolicy:
    agent = Agent(
        SPACES, Mlp([], False, False), Scalar(), Dqn(Loss.huber, None), Sgd(1, Schedule.constant, 0)
    )
    parameters = torch.tensor([*WEIGHTS[0], *WEIGHTS[1], *BIASES], dtype=dtype)
    assert parameters.shape == (size(agent.layout),)
    return GreedyPolicy(agent, parameters)


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


@pytest.mark.parametrize(("obs", "mask", "best"), CASES)
def test_the_best_legal_action_is_taken(obs: list[float], mask: list[bool], best: int) -> None:
    assert policy()(np.array([obs], np.float32), np.array([mask])).tolist() == [best]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("stored", [np.float32, np.float64, np.uint8])
def test_a_batch_is_answered_row_by_row_in_any_precision(dtype: torch.dtype, stored: Any) -> None:
    cases = [case for case in CASES if min(case[0]) >= 0]
    obs, mask = (np.array([case[i] for case in cases]) for i in range(2))
    assert policy(dtype)(obs.astype(stored), mask).tolist() == [best for *_, best in cases]


def test_the_same_question_has_the_same_answer() -> None:
    greedy = policy()
    obs, mask = np.ones((1, 2), np.float32), np.ones((1, 3), bool)
    assert len({int(greedy(obs, mask)[0]) for _ in range(50)}) == 1


def test_no_gradient_is_kept() -> None:
    greedy = policy()
    greedy.parameters.requires_grad_()
    greedy(np.ones((1, 2), np.float32), np.ones((1, 3), bool))
    assert greedy.parameters.grad is None
