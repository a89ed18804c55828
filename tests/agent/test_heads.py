from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dqn_cli.agent.heads import Loss, Scalar

NEXT_Z = torch.tensor([[[3.0], [4.0]]])  # one sample, two actions, one atom
FIRST, SECOND = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])


def backup(reward: float, discount: float, policy: Tensor) -> list[list[float]]:
    return (
        Scalar().backup(torch.tensor([reward]), torch.tensor([discount]), NEXT_Z, policy).tolist()
    )


def test_scalar_values_are_its_single_atoms() -> None:
    z = torch.arange(6.0).view(2, 3, 1)
    assert Scalar().atoms == 1
    assert Scalar().q(z).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_a_termination_backs_up_the_reward_alone() -> None:
    assert backup(1.5, 0.0, SECOND) == [[1.5]]


@pytest.mark.parametrize(("policy", "target"), [(FIRST, 3.0), (SECOND, 3.5)])
def test_a_discount_bootstraps_from_the_policys_action(policy: Tensor, target: float) -> None:
    # 1.5 + 0.5 * 3 = 3.0 and 1.5 + 0.5 * 4 = 3.5
    assert backup(1.5, 0.5, policy) == [[target]]


def test_a_mixed_policy_backs_up_its_expected_value() -> None:
    # 1 + 0.5 * (0.25 * 3 + 0.75 * 4) = 1 + 0.5 * 3.75 = 2.875
    assert backup(1.0, 0.5, torch.tensor([[0.25, 0.75]])) == [[2.875]]


@pytest.mark.parametrize(
    ("kind", "error", "expected"),
    [
        (Loss.squared, 0.5, 0.25),
        (Loss.squared, -3.0, 9.0),
        (Loss.huber, 0.0, 0.0),
        (Loss.huber, 0.5, 0.125),  # 0.5^2 / 2
        (Loss.huber, -1.0, 0.5),  # both branches meet here
        (Loss.huber, -3.0, 2.5),  # 3 - 1 / 2
    ],
)
def test_losses_of_one_error(kind: Loss, error: float, expected: float) -> None:
    target = torch.tensor([[10.0]])
    assert Scalar().loss(target + error, target, kind).tolist() == [expected]


def test_each_sample_has_its_own_loss() -> None:
    z, target = torch.tensor([[1.0], [2.0], [5.0]]), torch.tensor([[1.0], [1.0], [1.0]])
    assert Scalar().loss(z, target, Loss.squared).tolist() == [0, 1, 16]
