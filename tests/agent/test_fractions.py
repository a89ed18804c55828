from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from array_spaces import array_spaces
from exact_numbers import DOUBLE, NO_TAUS, normal, tensor
from torch import Tensor

from dqn_cli.agent.fractions import Fqf, fraction_slope, fractions
from dqn_cli.agent.model import Model
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.parameters import size, views
from dqn_cli.agent.quantiles import Iqn, quantile_huber
from dqn_cli.agent.rescaling import Rescaled, squash

SPACES = array_spaces((2,), (-1, -1), (1, 1), 3)


def fqf(atoms: int, fraction_lr: float = 1.0, entropy: float = 0.0) -> Fqf:
    return Fqf(atoms, 4, fraction_lr, entropy)


def logs(*widths: float) -> list[float]:
    return [math.log(width) for width in widths]


def test_fractions_end_the_intervals_and_levels_are_halfway() -> None:
    ends, middle = fractions(tensor([logs(0.5, 0.25, 0.25)]))
    torch.testing.assert_close(ends, tensor([[0.5, 0.75, 1]]))
    torch.testing.assert_close(middle, tensor([[0.25, 0.625, 0.875]]))


def test_values_count_by_the_widths_of_their_intervals() -> None:
    z = tensor([[[*logs(0.5, 0.25, 0.25), 2, 4, -8], [*logs(0.25, 0.25, 0.5), 2, 4, -8]]])
    # 0.5 * 2 + 0.25 * 4 - 0.25 * 8 and 0.25 * 2 + 0.25 * 4 - 0.5 * 8
    torch.testing.assert_close(fqf(3).q(z), tensor([[0, -2.5]]))


def test_values_do_not_move_the_fractions() -> None:
    z = tensor([[*logs(0.5, 0.25, 0.25), 2, 4, -8, 3, 1]]).requires_grad_()
    (slope,) = torch.autograd.grad(fqf(3).q(z).sum(), z)
    torch.testing.assert_close(slope, tensor([[0, 0, 0, 0.5, 0.25, 0.25, 0, 0]]))


@pytest.mark.parametrize(
    ("discount", "policy", "shift", "returns"),
    [
        (0.0, [1, 0], None, [1, 1]),
        (0.5, [1, 0], None, [1.5, 2]),
        (0.5, [0.25, 0.75], None, [2.25, 3.875]),  # 1 + 0.5 * (0.25 * 1 + 0.75 * 3), ...
        (0.5, [0, 1], [9, -1], [2, 4]),
    ],
)
def test_a_target_has_the_next_widths_and_a_return_for_each(
    discount: float, policy: list[float], shift: list[float] | None, returns: list[float]
) -> None:
    z = tensor([[[*logs(0.75, 0.25), 1, 2], [*logs(0.75, 0.25), 3, 7]]])
    shifted = None if shift is None else tensor([shift])
    head = fqf(2)
    target = head.backup(tensor([1]), tensor([discount]), z, tensor([policy]), shifted)
    torch.testing.assert_close(target, tensor([[0.75, 0.25, *returns]]))
    assert head.mean(target).tolist() == pytest.approx([0.75 * returns[0] + 0.25 * returns[1]])


def test_a_complete_return_is_a_target_of_equal_widths() -> None:
    target = fqf(2).backup(tensor([3]), tensor([0]), torch.zeros(1, 2, 5).double(), ONE, None)
    assert target.tolist() == [[0.5, 0.5, 3, 3]]


ONE = tensor([[1, 0]])


def test_the_loss_of_two_quantiles_by_hand() -> None:
    # Levels 0.25 and 0.75. Errors 0.5, -2 | -2.5, -5 have Huber losses 0.125, 1.5 | 2, 4.5; above z
    # they count 0.25 | 0.75 and below it 0.75 | 0.25. The returns have chances 0.75 and 0.25:
    # 0.75 * 0.03125 + 0.25 * 1.125 + 0.75 * 0.5 + 0.25 * 1.125
    z, target = tensor([[0, 0, 0, 3, 1]]), tensor([[0.75, 0.25, 0.5, -2]])
    assert fqf(2).td_loss(z, target, NO_TAUS).tolist() == pytest.approx([0.9609375])


def test_with_equal_intervals_the_loss_is_that_of_quantiles_at_midpoints() -> None:
    values, returns = normal(4, 3), normal(4, 3, seed=1)
    z = torch.cat([torch.zeros(4, 3), values, normal(4, 2, seed=2)], 1)
    target = torch.cat([torch.full((4, 3), 1 / 3, dtype=DOUBLE), returns], 1)
    levels = tensor([[1 / 6, 0.5, 5 / 6]]).expand(4, 3)
    found = fqf(3).td_loss(z, target, NO_TAUS)
    torch.testing.assert_close(found, quantile_huber(values, returns, levels))


def test_the_slope_of_a_fraction_by_hand() -> None:
    # 2 * 3 - 1 - 4 and 2 * 5 - 4 - 9
    assert fraction_slope(tensor([[1, 4, 9]]), tensor([[3, 5]])).tolist() == [[1, -3]]


def exponential(levels: Tensor) -> Tensor:
    return -3 * (1 - levels).log()


def staircase_distance(ends: Tensor) -> Tensor:
    """The 1-Wasserstein distance of the exponential distribution and its staircase, in numbers."""
    taus = torch.cat([tensor([0]), ends, tensor([1])])
    share = (torch.arange(20000, dtype=DOUBLE) + 0.5) / 20000
    total = tensor([0])
    for low, high in pairwise(taus):
        levels = low + (high - low) * share
        distance = exponential(levels) - exponential((low + high) / 2)
        total = total + (high - low) * distance.abs().mean()
    return total.sum()


def test_the_slope_is_the_derivative_of_the_distance() -> None:
    ends = tensor([0.3, 0.55, 0.9])
    (expected,) = torch.autograd.grad(staircase_distance(ends.requires_grad_()), ends)
    ends = ends.detach()
    taus = torch.cat([tensor([0]), ends, tensor([1])])
    values = exponential((taus[1:] + taus[:-1]) / 2)
    found = fraction_slope(values[None], exponential(ends)[None])[0]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("entropy", [0.0, 0.7])
def test_fractions_get_the_gradient_of_the_paper_and_values_that_of_the_loss(
    entropy: float,
) -> None:
    logits, values, edges = normal(4, 3), normal(4, 3, seed=1), normal(4, 2, seed=2)
    target = torch.cat([normal(4, 3, seed=3).softmax(1), normal(4, 3, seed=4)], 1)
    z = torch.cat([logits, values, edges], 1).requires_grad_()
    (found,) = torch.autograd.grad(fqf(3, entropy=entropy).td_loss(z, target, NO_TAUS).sum(), z)

    slope = 2 * edges - values[:, 1:] - values[:, :-1]
    for row in range(4):
        ends_of = torch.autograd.functional.jacobian(
            lambda logits: logits.softmax(0).cumsum(0)[:-1], logits[row]
        )
        widths = logits[row].softmax(0)
        mean_log = (widths * widths.log()).sum()
        # d entropy / d logits = -widths * (log widths - their mean)
        bonus = -widths * (widths.log() - mean_log)
        expected = slope[row] @ ends_of - entropy * bonus
        torch.testing.assert_close(found[row, :3], expected)
    _, levels = fractions(logits)
    own = values.clone().requires_grad_()
    loss = quantile_huber(own, target[:, 3:], levels, target[:, :3])
    (expected,) = torch.autograd.grad(loss.sum(), own)
    torch.testing.assert_close(found[:, 3:6], expected)
    assert not found[:, 6:].any()


def test_the_slope_and_the_bonus_are_no_part_of_the_losss_value() -> None:
    z, target = normal(2, 8), torch.cat([normal(2, 3).softmax(1), normal(2, 3, seed=1)], 1)
    with_bonus = fqf(3, entropy=5).td_loss(z, target, NO_TAUS)
    torch.testing.assert_close(with_bonus, fqf(3).td_loss(z[:, :6], target, NO_TAUS))


def model_of(head: Fqf | Iqn, dueling: bool = True) -> Model:
    return Model(SPACES, Mlp([6, 5], False, False, dueling, False, 0.5), head)


@pytest.mark.parametrize("dueling", [False, True])
def test_values_are_those_of_an_implicit_network_at_the_proposed_levels(dueling: bool) -> None:
    own, implicit = model_of(fqf(3), dueling), model_of(Iqn(3, 4), dueling)
    parameters, obs, none = normal(size(own.layout)), normal(7, 2, seed=1), tensor([])
    z = own.z(own.named(parameters, none, none), obs)
    assert z.shape == (7, 3, 8)
    named = views(parameters, own.layout)
    shared = torch.cat([named[name].flatten() for name in implicit.layout])
    logits = z[:, 0, :3]
    assert (z[..., :3] == logits[:, None]).all()
    ends, levels = fractions(logits)
    at = implicit.z(implicit.named(shared, none, torch.cat([levels, ends[:, :-1]], 1)), obs)
    torch.testing.assert_close(z[..., 3:], at)
    features = own.network.torso(named, obs, SPACES)
    weight = named["fractions.weight"]
    matrix = weight if weight.shape == (6, 3) else weight.T
    torch.testing.assert_close(logits, features @ matrix + named["fractions.bias"])


def test_without_gradients_the_values_at_the_fractions_are_left_out() -> None:
    model = model_of(fqf(3))
    named = model.named(normal(size(model.layout)), tensor([]), tensor([]))
    full = model.z(named, normal(7, 2))
    with torch.no_grad():
        short = model.z(named, normal(7, 2))
    torch.testing.assert_close(short, full[..., :6])
    torch.testing.assert_close(model.head.q(short), model.head.q(full))


def gradients(head: Fqf) -> dict[str, Tensor]:
    model = model_of(head)
    parameters = (0.5 * normal(size(model.layout))).requires_grad_()
    z = model.z(model.named(parameters, tensor([]), tensor([])), normal(7, 2, seed=1))
    target = torch.cat([normal(7, 3, seed=2).softmax(1), normal(7, 3, seed=3)], 1)
    loss = head.td_loss(z[:, 1], target, NO_TAUS).sum()
    (flat,) = torch.autograd.grad(loss, parameters)
    return views(flat, model.layout)


def test_the_rate_of_the_fractions_scales_their_logits_and_not_their_gradient() -> None:
    model, none = model_of(fqf(3)), tensor([])
    parameters, obs = normal(size(model.layout)), normal(7, 2, seed=1)
    whole = model.z(model.named(parameters, none, none), obs)[..., :3]
    slow = model_of(fqf(3, 0.01))
    torch.testing.assert_close(
        slow.z(slow.named(parameters, none, none), obs)[..., :3], 0.01 * whole
    )
    still = gradients(fqf(3, 0))
    assert still["fractions.weight"].abs().max() > 1e-3
    # Logits are 0 for a factor of 0, as for one of 1 with a layer of zeros; so are the gradients.
    slope = gradients(fqf(3, 1e-9))
    for name, value in still.items():
        torch.testing.assert_close(slope[name], value, rtol=1e-6, atol=1e-8)


def test_only_the_proposing_layer_gets_the_gradient_of_the_fractions() -> None:
    plain, strong = gradients(fqf(3)), gradients(fqf(3, entropy=100))
    changed = {name for name in plain if not torch.equal(plain[name], strong[name])}
    assert changed == {"fractions.weight", "fractions.bias"}


def test_descending_the_slope_finds_better_fractions_than_equal_ones() -> None:
    """The values are exact here, so only the fractions move."""
    logits = torch.zeros(1, 4, dtype=DOUBLE)
    for _ in range(400):
        logits.requires_grad_()
        ends, levels = fractions(logits)
        values, edges = exponential(levels.detach()), exponential(ends.detach()[:, :-1])
        z = torch.cat([logits, values, edges], 1)
        target = torch.cat([torch.full_like(values, 0.25), values], 1)
        (slope,) = torch.autograd.grad(fqf(4).td_loss(z, target, NO_TAUS).sum(), logits)
        logits = (logits - 0.5 * slope).detach()
    found = fractions(logits)[0][0, :-1]
    equal = tensor([0.25, 0.5, 0.75])
    assert staircase_distance(found) < 0.95 * staircase_distance(equal)
    (rest,) = torch.autograd.grad(staircase_distance(found.requires_grad_()), found)
    assert rest.abs().max() < 0.01


def test_rescaled_returns_leave_the_widths_alone() -> None:
    head, z = Rescaled(fqf(2)), tensor([[[0, math.log(3), *squash(tensor([4, 8])), 0.5]]])
    assert head.q(z).tolist() == [[pytest.approx(7)]]
    target = head.backup(tensor([1]), tensor([0.5]), z[..., :4], tensor([[1]]), None)
    torch.testing.assert_close(target, tensor([[0.25, 0.75, *squash(tensor([3, 5]))]]))
    assert head.mean(target).tolist() == pytest.approx([4.5])
