from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from array_spaces import array_spaces
from exact_numbers import DOUBLE, NO_TAUS, normal, tensor
from oriented import sizes, stored
from torch import Tensor

from dqn_cli.agent.model import Model
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.parameters import size
from dqn_cli.agent.quantiles import Iqn, Qr, midpoints, quantile_huber

SPACES = array_spaces((2,), (-1, -1), (1, 1), 3)


@pytest.mark.parametrize(
    ("count", "levels"), [(1, [0.5]), (2, [0.25, 0.75]), (5, [0.1, 0.3, 0.5, 0.7, 0.9])]
)
def test_midpoints_are_those_of_equal_parts_of_the_unit_interval(
    count: int, levels: list[float]
) -> None:
    assert midpoints(count, tensor([0])).tolist() == pytest.approx(levels)
    assert midpoints(count, torch.zeros(1)).dtype == torch.float32


@pytest.mark.parametrize(
    ("z", "target", "expected"),
    [
        # Errors 0.5, -2 | -2.5, -5 have Huber losses 0.125, 1.5 | 2, 4.5; above z they count 0.25 |
        # 0.75 and below it 0.75 | 0.25: (0.03125 + 1.125) / 2 + (0.5 + 1.125) / 2
        ([0, 3], [0.5, -2], 1.390625),
        # Errors 3, 1.5 | 2, 0.5 have 2.5, 1 | 1.5, 0.125:
        # (0.625 + 0.25) / 2 + (1.125 + 0.09375) / 2
        ([0, 1], [3, 1.5], 1.046875),
        # Errors 0, -0.5 | 0.5, 0 have 0, 0.125 | 0.125, 0: 0.75 * 0.125 / 2 + 0.75 * 0.125 / 2
        ([1, 0.5], [1, 0.5], 0.09375),
        ([2, 2], [2, 2], 0),
    ],
)
def test_quantile_huber_loss_of_two_quantiles_by_hand(
    z: list[float], target: list[float], expected: float
) -> None:
    levels = tensor([[0.25, 0.75]])
    assert quantile_huber(tensor([z]), tensor([target]), levels).tolist() == [expected]
    assert Qr(2).td_loss(tensor([z]), tensor([target]), NO_TAUS).tolist() == [expected]


def test_quantiles_and_targets_may_differ_in_number() -> None:
    # One quantile at 0.9 of 0; errors 2, -2, 0 have 1.5, 1.5, 0: (0.9 * 1.5 + 0.1 * 1.5) / 3
    found = quantile_huber(tensor([[0]]), tensor([[2, -2, 0]]), tensor([[0.9]]))
    assert found.tolist() == pytest.approx([0.5])


def test_each_sample_has_its_own_loss_and_levels() -> None:
    z, target, levels = normal(4, 3), normal(4, 5, seed=1), normal(4, 3, seed=2).sigmoid()
    together = quantile_huber(z, target, levels)
    alone = [quantile_huber(z[[i]], target[[i]], levels[[i]]) for i in range(4)]
    torch.testing.assert_close(together, torch.cat(alone))


def test_the_gradient_of_the_quantile_huber_loss_is_that_of_finite_differences() -> None:
    # Both branches of Huber's loss on both sides, and no error at a kink.
    z, target = tensor([[0.0, 0.3, -0.2]]), tensor([[0.5, -0.7, 3.1, -2.9]])
    levels = midpoints(3, z).expand(1, 3)
    z.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: quantile_huber(z, target, levels), [z])


def exponential(levels: Tensor) -> Tensor:
    return -100 * (1 - levels).log()


def uniform(levels: Tensor) -> Tensor:
    return 100 * levels - 50


@pytest.mark.parametrize("quantile", [exponential, uniform])
@pytest.mark.parametrize("head", [Qr(5), Iqn(5, 1)])
def test_descending_the_loss_finds_the_quantiles_of_what_it_is_shown(
    quantile: Callable[[Tensor], Tensor], head: Qr
) -> None:
    # On a scale of 100 the knee at 1, below which expectiles are found, makes a difference of 0.4.
    shown = quantile(midpoints(2000, tensor([0]))).expand(1, -1)
    levels = midpoints(5, shown).expand(1, -1)
    z = torch.zeros(1, 5, dtype=DOUBLE, requires_grad=True)
    for _ in range(300):
        (slope,) = torch.autograd.grad(head.td_loss(z, shown, levels).sum(), z)
        z = (z - 50 * slope).detach().requires_grad_()
    torch.testing.assert_close(z.detach(), quantile(levels), rtol=0, atol=0.5)


def test_values_are_the_means_of_the_quantiles() -> None:
    z = tensor([[[1, 2, 6], [0, 0, -3]]])
    assert Qr(3).outputs == 3
    assert Qr(3).samples == 0
    assert Qr(3).q(z).tolist() == [[3, -1]]
    assert Qr(3).mean(z[0]).tolist() == [3, -1]
    assert Iqn(3, 1).q(z).tolist() == [[3, -1]]


NEXT_Z = [[[1, 2], [3, 7]]]  # one sample, two actions, two quantiles


@pytest.mark.parametrize("head", [Qr(2), Iqn(2, 1)])
@pytest.mark.parametrize(
    ("discount", "policy", "shift", "expected"),
    [
        (0.0, [1, 0], None, [1, 1]),
        (0.5, [1, 0], None, [1.5, 2]),
        (0.5, [0, 1], None, [2.5, 4.5]),
        (0.5, [0.25, 0.75], None, [2.25, 3.875]),  # 1 + 0.5 * (0.25 * 1 + 0.75 * 3), ...
        (0.5, [0, 1], [9, -1], [2, 4]),
        # 1 + 0.5 * (0.25 * 3 + 0.75 * 2) and 1 + 0.5 * (0.25 * 4 + 0.75 * 6)
        (0.5, [0.25, 0.75], [2, -1], [2.125, 3.75]),
        (0.5, [1, 0], [0, 1e30], [1.5, 2]),  # without a chance, without a trace
    ],
)
def test_quantiles_of_one_level_are_shifted_and_mixed_by_the_policy(
    head: Qr,
    discount: float,
    policy: list[float],
    shift: list[float] | None,
    expected: list[float],
) -> None:
    shifted = None if shift is None else tensor([shift])
    numbers = tensor([1]), tensor([discount])
    found = head.backup(*numbers, tensor(NEXT_Z), tensor([policy]), shifted)
    assert found.tolist() == [expected]


def test_implicit_quantiles_are_drawn_for_learning_and_midpoints_for_acting() -> None:
    head = Iqn(4, 8)
    assert (head.outputs, head.samples) == (1, 4)
    assert head.taus(torch.zeros(2, 9, 9)).tolist() == [[0.125, 0.375, 0.625, 0.875]] * 2


def test_implicit_quantiles_are_compared_at_the_levels_they_were_drawn_at() -> None:
    z, target, levels = normal(3, 4), normal(3, 4, seed=1), normal(3, 4, seed=2).sigmoid()
    found = Iqn(4, 8).td_loss(z, target, levels)
    torch.testing.assert_close(found, quantile_huber(z, target, levels))
    assert not torch.allclose(found, Qr(4).td_loss(z, target, levels))


def test_the_embedding_has_a_weight_for_each_cosine_and_feature() -> None:
    layout = Iqn(4, 8).embedding(5)
    shapes = {name: each.shape for name, each in layout.items()}
    assert shapes == {"cosines.weight": (5, 8), "cosines.bias": (5,)}
    assert sizes(layout, "cosines") == (8, 5)


def test_features_are_multiplied_by_the_embedding_of_each_level() -> None:
    # cos(pi * i * tau) for i = 0, 1, 2: 1, 0, -1 at 0.5; 1, 0.5, -0.5 at 1 / 3; 1, -1, 1 at 1.
    p = {
        "taus": tensor([[0.5, 1 / 3], [1, 0.5]]),
        "cosines.weight": stored(tensor([[1, 2], [10, 0], [100, -4]])),
        "cosines.bias": tensor([95, 0.5]),
    }
    # At 0.5: relu(1 - 100 + 95) = 0 and 2 + 4 + 0.5 = 6.5. At 1 / 3: 1 + 5 - 50 + 95 = 51 and
    # 2 + 2 + 0.5 = 4.5. At 1: 1 - 10 + 100 + 95 = 186 and relu(2 - 4 + 0.5) = 0.
    found = Iqn(2, 3).expand(p, tensor([[1, 2], [3, -1]]))
    expected = tensor([[0, 13], [51, 9], [558, 0], [0, -6.5]])
    torch.testing.assert_close(found, expected)


def test_what_the_network_puts_out_for_each_level_becomes_an_atom() -> None:
    # Rows are sample 0 at levels 0 and 1, then sample 1; columns are three actions.
    out = tensor([[0, 1, 2], [10, 11, 12], [100, 101, 102], [110, 111, 112]]).unsqueeze(2)
    found = Iqn(2, 3).fold({"taus": torch.zeros(2, 2)}, out)
    assert found.tolist() == [
        [[0, 10], [1, 11], [2, 12]],
        [[100, 110], [101, 111], [102, 112]],
    ]


@pytest.mark.parametrize("dueling", [False, True])
@pytest.mark.parametrize("widths", [[], [4], [5, 4]])
def test_z_of_a_level_is_the_same_alone_and_among_others(widths: list[int], dueling: bool) -> None:
    model = Model(SPACES, Mlp(widths, False, False, dueling, False, 0.5), Iqn(3, 7))
    parameters, obs = normal(size(model.layout)), normal(4, 2, seed=1)
    nothing = tensor([])
    levels = normal(4, 3, seed=2).sigmoid()
    together = model.z(model.named(parameters, nothing, levels), obs)
    assert together.shape == (4, 3, 3)
    for k in range(3):
        alone = model.z(model.named(parameters, nothing, levels[:, [k]]), obs)
        torch.testing.assert_close(together[:, :, [k]], alone)
    at_midpoints = model.z(model.named(parameters, nothing, model.head.taus(obs)), obs)
    torch.testing.assert_close(model.q(parameters, obs, nothing), at_midpoints.mean(2))


def test_z_differs_between_levels() -> None:
    model = Model(SPACES, Mlp([], False, False, False, False, 0.5), Iqn(2, 2))
    named = {
        "cosines.weight": stored(tensor([[0, 0], [1, 1]])),
        "cosines.bias": tensor([1, 1]),
        "advantage.out.weight": stored(tensor([[1, 0, 0], [0, 1, 1]])),
        "advantage.out.bias": tensor([0, 0, -1]),
        "taus": tensor([[0.25, 0.5]]),
    }
    # The embedding is 1 + cos(pi tau) for both features: 1 + sqrt(1 / 2) and 1.
    wide = 1 + math.sqrt(0.5)
    z = model.z(named, tensor([[2, 3]]))
    torch.testing.assert_close(z, tensor([[[2 * wide, 2], [3 * wide, 3], [3 * wide - 1, 2]]]))
