from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dqn_cli.agent.optimizers import Adam, AdamW, Optimizer, RmsProp, Schedule, Sgd

Reference = Callable[[list[Tensor]], torch.optim.Optimizer]

CONSTANT = Schedule.constant
ONE = torch.tensor(1.0, dtype=torch.float64)


def theirs(kind: type[torch.optim.Optimizer], **options: Any) -> Reference:
    return lambda parameters: kind(parameters, **options)


PAIRS = {
    "adam": (
        Adam(0.01, CONSTANT, 0.8, 0.95, 1e-4),
        theirs(torch.optim.Adam, lr=0.01, betas=(0.8, 0.95), eps=1e-4),
    ),
    "adam-default": (Adam(0.001, CONSTANT, 0.9, 0.999, 1e-8), theirs(torch.optim.Adam, lr=0.001)),
    "adamw": (
        AdamW(0.01, CONSTANT, 0.8, 0.95, 1e-4, 0.3),
        theirs(torch.optim.AdamW, lr=0.01, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.3),
    ),
    "rmsprop": (
        RmsProp(0.01, CONSTANT, 0.9, 1e-3, 0.0, False),
        theirs(torch.optim.RMSprop, lr=0.01, alpha=0.9, eps=1e-3),
    ),
    "rmsprop-momentum": (
        RmsProp(0.01, CONSTANT, 0.9, 1e-3, 0.7, False),
        theirs(torch.optim.RMSprop, lr=0.01, alpha=0.9, eps=1e-3, momentum=0.7),
    ),
    "rmsprop-centered": (
        RmsProp(0.01, CONSTANT, 0.9, 1e-3, 0.0, True),
        theirs(torch.optim.RMSprop, lr=0.01, alpha=0.9, eps=1e-3, centered=True),
    ),
    "rmsprop-centered-momentum": (
        RmsProp(0.01, CONSTANT, 0.95, 1e-2, 0.5, True),
        theirs(torch.optim.RMSprop, lr=0.01, alpha=0.95, eps=1e-2, momentum=0.5, centered=True),
    ),
    "sgd": (Sgd(0.05, CONSTANT, 0.0), theirs(torch.optim.SGD, lr=0.05)),
    "sgd-momentum": (Sgd(0.05, CONSTANT, 0.9), theirs(torch.optim.SGD, lr=0.05, momentum=0.9)),
}
OURS = pytest.mark.parametrize("ours", [pair[0] for pair in PAIRS.values()], ids=list(PAIRS))


def run(
    optimizer: Optimizer,
    start: Tensor,
    gradient_of: Callable[[Tensor, int], Tensor],
    factors: list[float],
) -> Tensor:
    """Where the parameters end after a step with each of `factors`."""
    parameters = start.clone()
    moments = torch.zeros(optimizer.moments, len(start), dtype=start.dtype)
    for count, factor in enumerate(factors, 1):
        gradient = gradient_of(parameters, count)
        parameters, moments = optimizer.step(
            parameters, gradient, moments, ONE * count, ONE * factor
        )
        assert moments.shape == (optimizer.moments, len(start))
    return parameters


def bumpy(parameters: Tensor, count: int) -> Tensor:
    noise = torch.from_numpy(np.random.default_rng(count).normal(size=len(parameters)))
    return (parameters - 1 + noise).to(parameters.dtype)


def start() -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=12))


@pytest.mark.parametrize("schedule", [Schedule.constant, Schedule.linear])
@pytest.mark.parametrize(("ours", "reference"), PAIRS.values(), ids=list(PAIRS))
def test_fifty_steps_agree_with_torch(
    ours: Optimizer, reference: Reference, schedule: Schedule
) -> None:
    factors = [schedule.factor(step / 50) for step in range(50)]
    parameters = start().requires_grad_()
    optimizer = reference([parameters])
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: schedule.factor(step / 50))
    for count in range(1, 51):
        parameters.grad = bumpy(parameters.detach(), count)
        optimizer.step()
        rate.step()
    expected = parameters.detach()
    actual = run(ours, start(), bumpy, factors)
    assert (actual - start()).abs().min() > 1e-5
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-11)


def test_the_first_steps_of_adam_by_hand() -> None:
    optimizer = Adam(0.1, CONSTANT, 0.9, 0.99, 1.0)
    zeros, three = torch.zeros(2, 1, dtype=torch.float64), torch.tensor([3.0], dtype=torch.float64)
    parameters, moments = optimizer.step(three, three, zeros, ONE, ONE)
    # mean 0.1 * 3 = 0.3 and square 0.01 * 9 = 0.09; corrected, 3 and 9: 3 - 0.1 * 3 / (3 + 1)
    assert moments.flatten().tolist() == pytest.approx([0.3, 0.09])
    assert parameters.item() == pytest.approx(2.925)
    parameters, moments = optimizer.step(parameters, -three, moments, 2 * ONE, ONE)
    # mean 0.9 * 0.3 - 0.3 = -0.03 over 1 - 0.81: -3 / 19; square 0.0891 + 0.09 over 0.0199: 9
    assert parameters.item() == pytest.approx(2.925 + 0.1 * (3 / 19) / (3 + 1))


def test_adamw_shrinks_the_parameters_even_without_a_gradient() -> None:
    optimizer = AdamW(0.1, CONSTANT, 0.9, 0.99, 1e-8, 0.5)
    zero = torch.zeros(1, dtype=torch.float64)
    parameters, _ = optimizer.step(zero + 2, zero, torch.zeros(2, 1), ONE, ONE)
    assert parameters.item() == pytest.approx(1.9)  # 2 * (1 - 0.1 * 0.5)


def test_momentum_repeats_a_share_of_the_step_before() -> None:
    gradients = [1.0, 0.0, 0.0]
    end = run(
        Sgd(0.5, CONSTANT, 0.5),
        torch.zeros(1, dtype=torch.float64),
        lambda _, count: torch.tensor([gradients[count - 1]], dtype=torch.float64),
        [1, 1, 1],
    )
    assert end.item() == pytest.approx(-0.875)  # -0.5 * (1 + 0.5 + 0.25)


@OURS
def test_the_factor_scales_the_learning_rate(ours: Optimizer) -> None:
    slower = type(ours)(**(vars(ours) | {"lr": ours.lr / 4}))
    torch.testing.assert_close(
        run(ours, start(), bumpy, [0.25] * 5), run(slower, start(), bumpy, [1.0] * 5)
    )
    assert torch.equal(run(ours, start(), bumpy, [0.0] * 5), start())


@OURS
def test_float32_parameters_stay_float32_and_close_to_float64(ours: Optimizer) -> None:
    single = run(ours, start().float(), bumpy, [1.0] * 20)
    assert single.dtype == torch.float32
    # Centred variance is a difference of near squares, which costs digits.
    torch.testing.assert_close(
        single.double(), run(ours, start(), bumpy, [1.0] * 20), rtol=1e-4, atol=1e-5
    )


def test_adams_first_step_in_float32_is_the_learning_rate() -> None:
    gradient = torch.tensor([1.0])
    parameters, _ = Adam(1.0, CONSTANT, 0.9, 0.999, 1e-8).step(
        torch.zeros(1), gradient, torch.zeros(2, 1), ONE, ONE
    )
    # 1 - 0.999 computed in float32 would be off by 1e-5, and its root by half of that.
    assert parameters.item() == pytest.approx(-1.0, abs=1e-6)


@OURS
def test_a_zero_gradient_moves_nothing_but_decay(ours: Optimizer) -> None:
    end = run(ours, start(), lambda parameters, _: torch.zeros_like(parameters), [1.0] * 3)
    decay = getattr(ours, "weight_decay", 0.0)
    torch.testing.assert_close(end, start() * (1 - ours.lr * decay) ** 3)


@pytest.mark.parametrize(
    ("progress", "constant", "linear"),
    [(0.0, 1.0, 1.0), (0.25, 1.0, 0.75), (1.0, 1.0, 0.0), (1.5, 1.0, 0.0)],
)
def test_the_schedules_of_the_learning_rate(
    progress: float, constant: float, linear: float
) -> None:
    assert Schedule.constant.factor(progress) == constant
    assert Schedule.linear.factor(progress) == linear
