from __future__ import annotations

import pytest
import torch
from exact_numbers import DOUBLE, NO_TAUS, normal, tensor
from torch import Tensor

from dqn_cli.agent.expectiles import Expectile, expectile_loss, impute
from dqn_cli.agent.quantiles import midpoints

EQUAL = [0.2] * 5


def expectiles_of(samples: Tensor, weights: Tensor, taus: Tensor) -> Tensor:
    """Expectiles of one distribution, by halving an interval: the loss is convex."""
    low, high = samples.min().expand(len(taus)), samples.max().expand(len(taus))
    for _ in range(100):
        middle = (low + high) / 2
        error = samples - middle[:, None]
        pull = (torch.where(error < 0, 1 - taus[:, None], taus[:, None]) * error * weights).sum(1)
        low, high = torch.where(pull > 0, middle, low), torch.where(pull > 0, high, middle)
    return (low + high) / 2


def test_the_loss_of_two_expectiles_by_hand() -> None:
    # Levels 0.25 and 0.75. Errors 2, -1 | 1, -2 count 0.25, 0.75 | 0.75, 0.25, and the chances are
    # 0.5 each: (0.25 * 4 + 0.75 * 1) / 2 + (0.75 * 1 + 0.25 * 4) / 2
    found = expectile_loss(
        tensor([[0, 1]]), tensor([[2, -1]]), tensor([0.25, 0.75]), tensor([[0.5, 0.5]])
    )
    assert found.tolist() == [1.75]


def test_the_gradient_of_the_loss_is_that_of_finite_differences() -> None:
    z, target = normal(2, 5), normal(2, 7, seed=1)
    weights = normal(2, 7, seed=2).softmax(1)
    z.requires_grad_()
    levels = midpoints(5, z)
    assert torch.autograd.gradcheck(lambda z: expectile_loss(z, target, levels, weights), [z])


def test_descending_the_loss_finds_expectiles() -> None:
    samples, weights = normal(1, 9), normal(1, 9, seed=1).softmax(1)
    z = torch.zeros(1, 5, dtype=DOUBLE)
    for _ in range(300):
        z.requires_grad_()
        target = torch.cat([weights, samples], 1)
        loss = expectile_loss(z, target[:, 9:], midpoints(5, z), target[:, :9]).sum()
        (slope,) = torch.autograd.grad(loss, z)
        z = (z - 0.5 * slope).detach()
    expected = expectiles_of(samples[0], weights[0], midpoints(5, z))
    torch.testing.assert_close(z[0], expected)


def returns(name: str) -> tuple[Tensor, Tensor]:
    """Samples and their probabilities."""
    evenly = (torch.arange(500, dtype=DOUBLE) + 0.5) / 500
    share = torch.full((500,), 1 / 500, dtype=DOUBLE)
    return {
        "two": (tensor([-3, 7]), tensor([0.5, 0.5])),
        "rare": (tensor([0, 100]), tensor([0.99, 0.01])),
        "loss": (tensor([-50, 1, 2]), tensor([0.02, 0.5, 0.48])),
        "apart": (tensor([-40, -39, 39, 40]), tensor([0.25] * 4)),
        "exponential": (-3 * (1 - evenly).log(), share),
        "drawn": (10 * normal(500), share),
        "atom": (torch.cat([tensor([4]), evenly]), torch.cat([tensor([0.5]), share / 2])),
    }[name]


@pytest.mark.parametrize("count", [5, 11, 51])
@pytest.mark.parametrize("name", ["two", "rare", "loss", "apart", "exponential", "drawn", "atom"])
def test_an_imputed_distribution_has_the_expectiles_that_it_was_made_of(
    name: str, count: int
) -> None:
    levels = midpoints(count, tensor([0]))
    expected = expectiles_of(*returns(name), levels)
    weights, samples = impute(expected[None])
    assert weights.min() >= 0
    assert weights.sum().item() == pytest.approx(1)
    found = expectiles_of(samples[0], weights[0], levels)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("count", [5, 11])
def test_what_is_imputed_of_any_predictions_is_a_distribution_with_their_mean(count: int) -> None:
    z = torch.cat([normal(500, count), 100 * normal(500, count, seed=1), torch.zeros(1, count)])
    z = torch.cat([z, torch.ones(1, count) * 3, normal(50, count).sort(1, descending=True).values])
    for dtype in (torch.float64, torch.float32):
        weights, samples = impute(z.to(dtype))
        assert weights.min() >= -1e-6
        torch.testing.assert_close(weights.sum(1), torch.ones(len(z), dtype=dtype))
        mean = (weights * samples).sum(1)
        torch.testing.assert_close(mean, z.to(dtype)[:, count // 2], rtol=1e-4, atol=1e-3)
        assert samples.abs().max() < 1e5


def test_equal_expectiles_are_those_of_one_certain_return() -> None:
    weights, samples = impute(tensor([[2, 2, 2, 2, 2]]))
    assert samples.tolist() == [[2] * 5]
    assert weights.sum().item() == pytest.approx(1)


def test_imputing_moves_and_scales_with_the_expectiles() -> None:
    z = normal(20, 11).sort(1).values
    weights, samples = impute(z)
    moved, scaled = impute(z + 5), impute(7 * z)
    torch.testing.assert_close(moved, (weights, samples + 5))
    torch.testing.assert_close(scaled, (weights, 7 * samples))
    mirrored = impute(-z.flip(1))
    torch.testing.assert_close(mirrored, (weights.flip(1), -samples.flip(1)))


def test_expectiles_taken_for_samples_would_lose_spread() -> None:
    """The reason for imputation: ten backups without rewards must not change a distribution."""
    levels = midpoints(11, tensor([0]))
    start = expectiles_of(*returns("exponential"), levels)
    naive, imputed = start, start
    for _ in range(10):
        naive = expectiles_of(naive, torch.full_like(naive, 1 / 11), levels)
        weights, samples = impute(imputed[None])
        imputed = expectiles_of(samples[0], weights[0], levels)
    assert naive.max() - naive.min() < 0.05 * (start.max() - start.min())
    torch.testing.assert_close(imputed, start, rtol=1e-5, atol=1e-5)


def test_values_are_the_middle_expectiles() -> None:
    head = Expectile(5)
    assert (head.outputs, head.samples) == (5, 0)
    assert head.q(tensor([[[1, 2, 6, 7, 9], [0, 0, -3, 1, 1]]])).tolist() == [[6, -3]]
    assert head.mean(tensor([[*EQUAL, 1, 2, 3, 4, 10]])).tolist() == [4]


@pytest.mark.parametrize(
    ("discount", "policy", "shift", "mean"),
    [
        (0.0, [1, 0], None, 1),
        (0.5, [1, 0], None, 2),
        (0.5, [0.25, 0.75], None, 3.5),  # 1 + 0.5 * (0.25 * 2 + 0.75 * 6)
        (0.5, [0, 1], [9, -1], 3.5),
    ],
)
def test_the_mean_is_backed_up_as_that_of_one_number(
    discount: float, policy: list[float], shift: list[float] | None, mean: float
) -> None:
    head, z = Expectile(5), tensor([[[0, 1, 2, 4, 7], [3, 5, 6, 7, 8]]])
    shifted = None if shift is None else tensor([shift])
    target = head.backup(tensor([1]), tensor([discount]), z, tensor([policy]), shifted)
    assert target.shape == (1, 10)
    assert head.mean(target).tolist() == pytest.approx([mean])
    error = head.sample_error(z[:, 0], target)
    assert error.tolist() == pytest.approx([abs(2 - mean)])


def test_the_loss_of_a_target_is_that_of_its_returns_by_their_chances() -> None:
    z, samples, weights = normal(3, 5), normal(3, 5, seed=1), normal(3, 5, seed=2).softmax(1)
    found = Expectile(5).td_loss(z, torch.cat([weights, samples], 1), NO_TAUS)
    levels = tensor([0.1, 0.3, 0.5, 0.7, 0.9])
    torch.testing.assert_close(found, expectile_loss(z, samples, levels, weights))
