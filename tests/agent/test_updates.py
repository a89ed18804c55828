from __future__ import annotations

from typing import NoReturn

import pytest
import torch

from dqn_cli.agent.heads import Loss
from dqn_cli.agent.updates import Double, Dqn, greedy

ALL = torch.tensor([[True, True, True]])
TARGET_Q = torch.tensor([[1.0, 3.0, 2.0]])
ONLINE_Q = torch.tensor([[5.0, 4.0, 6.0]])


def never() -> NoReturn:
    raise AssertionError("DQN does not ask the online network")


def test_greedy_puts_everything_on_the_best_action_of_each_sample() -> None:
    q = torch.tensor([[1.0, 3.0, 2.0], [-1.0, -3.0, -2.0]])
    policy = greedy(q, ALL.expand(2, -1))
    assert policy.tolist() == [[0, 1, 0], [1, 0, 0]]
    assert policy.dtype == q.dtype


@pytest.mark.parametrize(
    ("mask", "policy"),
    [
        ([True, False, True], [0, 0, 1]),
        ([True, False, False], [1, 0, 0]),
        ([False, True, False], [0, 1, 0]),
    ],
)
def test_greedy_takes_the_best_legal_action_however_low(
    mask: list[bool], policy: list[int]
) -> None:
    assert greedy(TARGET_Q - 100, torch.tensor([mask])).tolist() == [policy]


def test_dqn_selects_on_the_target_network_and_never_computes_the_online_one() -> None:
    assert Dqn(Loss.huber, None).policy(TARGET_Q, never, ALL).tolist() == [[0, 1, 0]]


def test_double_selects_on_the_online_network() -> None:
    policy = Double(Loss.huber, None).policy(TARGET_Q, lambda: ONLINE_Q, ALL)
    assert policy.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize(("rule", "policy"), [(Dqn, [0, 1, 0]), (Double, [1, 0, 0])])
def test_both_rules_bootstrap_from_legal_actions_only(
    rule: type[Dqn | Double], policy: list[int]
) -> None:
    mask = torch.tensor([[True, True, False]])  # the online network's favourite is illegal
    chosen = rule(Loss.huber, None).policy(TARGET_Q, lambda: ONLINE_Q, mask)
    assert chosen.tolist() == [policy]
