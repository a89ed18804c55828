from __future__ import annotations

import math

import pytest
import torch

from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.quantiles import Qr
from dqn_cli.agent.rescaling import Rescaled, squash, unsquash

HEAD = Rescaled(Scalar(Loss.squared))


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_squashing_is_that_of_r2d2() -> None:
    expected = [math.sqrt(4) - 1 + 0.003, -(math.sqrt(9) - 1) - 0.008, 0]
    assert squash(numbers(3, -8, 0)).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("value", [0.0, 1e-6, 1.0, 37.5, 1e4])
def test_unsquashing_gives_back_what_was_squashed(value: float) -> None:
    both = numbers(value, -value)
    torch.testing.assert_close(unsquash(squash(both)), both, rtol=1e-9, atol=1e-12)


def test_action_values_are_returns() -> None:
    z = squash(numbers(3, -8))[:, None]  # [actions, 1]
    assert HEAD.q(z).tolist() == pytest.approx([3, -8])


def test_the_target_is_the_squashed_return() -> None:
    # Greedily: 1 + 0.5 * 4 = 3, which is squashed to 1.003.
    z = squash(numbers(4, 2)).view(1, 2, 1)  # [batch, actions, atoms]
    policy, shift = numbers(1, 0)[None], None
    target = HEAD.backup(numbers(1), numbers(0.5), z, policy, shift)
    assert target.flatten().tolist() == pytest.approx([1.003])
    assert HEAD.mean(target).tolist() == pytest.approx([3])


def test_the_loss_compares_squashed_returns() -> None:
    z, target = numbers(1.0)[:, None], numbers(3.0)[:, None]
    assert HEAD.td_loss(z, target, z).tolist() == pytest.approx([4])
    assert HEAD.sample_error(z, target).tolist() == pytest.approx([2])


def test_quantiles_are_squashed_one_by_one() -> None:
    head, returns = Rescaled(Qr(3)), numbers(-2, 0, 8)
    assert head.q(squash(returns)).tolist() == pytest.approx(2)
    target = head.backup(
        numbers(1), numbers(1), squash(returns).view(1, 1, 3), numbers(1)[None], None
    )
    assert unsquash(target).flatten().tolist() == pytest.approx([-1, 1, 9])
