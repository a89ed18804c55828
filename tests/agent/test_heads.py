from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from dqn_cli.agent.heads import Head, Loss, Scalar

SCALAR = Scalar(Loss.huber)
NEXT_Z = torch.tensor([[[3.0], [4.0]]])  # one sample, two actions, one atom
FIRST, SECOND = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
NO_TAUS = torch.zeros(1, 0)


def backup(
    reward: float, discount: float, policy: Tensor, shift: Tensor | None = None
) -> list[list[float]]:
    numbers = torch.tensor([reward]), torch.tensor([discount])
    return SCALAR.backup(*numbers, NEXT_Z, policy, shift).tolist()


def test_scalar_values_are_its_single_atoms() -> None:
    z = torch.arange(6.0).view(2, 3, 1)
    assert SCALAR.outputs == 1
    assert SCALAR.q(z).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert SCALAR.mean(torch.tensor([[7.0], [8.0]])).tolist() == [7, 8]


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
    ("policy", "target"),
    [
        (FIRST, 7.0),  # 1 + 0.5 * (3 + 9)
        (SECOND, 2.5),  # 1 + 0.5 * (4 - 1)
        (torch.tensor([[0.25, 0.75]]), 3.625),  # 1 + 0.5 * (0.25 * 12 + 0.75 * 3)
    ],
)
def test_a_shift_is_added_to_each_action_before_they_are_mixed(
    policy: Tensor, target: float
) -> None:
    assert backup(1.0, 0.5, policy, torch.tensor([[9.0, -1.0]])) == [[target]]


def test_each_sample_is_backed_up_by_itself() -> None:
    found = SCALAR.backup(
        torch.tensor([1.0, 2.0]),
        torch.tensor([0.5, 0.0]),
        torch.tensor([[[3.0], [4.0]], [[5.0], [6.0]]]),
        torch.tensor([[1.0, 0.0], [0.0, 1.0]]),
        None,
    )
    assert found.tolist() == [[2.5], [2.0]]


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
    assert Scalar(kind).td_loss(target + error, target, NO_TAUS).tolist() == [expected]


def test_each_sample_has_its_own_loss() -> None:
    z, target = torch.tensor([[1.0], [2.0], [5.0]]), torch.tensor([[1.0], [1.0], [1.0]])
    assert Scalar(Loss.squared).td_loss(z, target, NO_TAUS.expand(3, 0)).tolist() == [0, 1, 16]


def test_by_default_a_head_is_one_function_without_levels_parameters_and_edges() -> None:
    head, features = Head(), torch.arange(6.0).view(2, 3)
    assert head.samples == 0
    assert head.taus(torch.zeros(5, 4, 2)).shape == (5, 0)
    assert head.embedding(8) == {}
    assert head.expand({}, features) is features
    assert head.fold({}, features) is features
    assert head.compute_z({}, features, torch.exp).equal(features.exp())
    assert head.on_returns(torch.exp, features).equal(features.exp())
    assert head.edge_mass(torch.ones(2, 3)).tolist() == [0, 0]
    assert head.mixed == 0
    assert head.prior_scale is None
    assert head.split(features) is features


def asked_for_outputs(head: Head) -> object:
    return head.outputs


@pytest.mark.parametrize(
    "ask",
    [
        asked_for_outputs,
        lambda head: head.q(NEXT_Z),
        lambda head: head.mean(NEXT_Z[0]),
        lambda head: head.backup(FIRST[0], FIRST[0], NEXT_Z, FIRST, None),
        lambda head: head.td_loss(FIRST, FIRST, NO_TAUS),
    ],
)
def test_all_else_is_for_each_head_to_say(ask: Callable[[Head], object]) -> None:
    with pytest.raises(NotImplementedError):
        ask(Head())
