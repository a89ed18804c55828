from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import repeat
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dqn_cli.agent.optimizers import (
    Adam,
    AdamW,
    Optimizer,
    OptimizerState,
    RAdam,
    RmsProp,
    Schedule,
    Sgd,
)

Reference = Callable[[list[Tensor]], torch.optim.Optimizer]

CONSTANT = Schedule.constant
ONE = torch.tensor(1.0, dtype=torch.float64)


def theirs(kind: type[torch.optim.Optimizer], **options: Any) -> Reference:
    return lambda parameters: kind(parameters, **options)


PAIRS = {
    "adam": (
        Adam(0.01, CONSTANT, None, 0.8, 0.95, 1e-4),
        theirs(torch.optim.Adam, lr=0.01, betas=(0.8, 0.95), eps=1e-4),
    ),
    "adam-default": (
        Adam(0.001, CONSTANT, None, 0.9, 0.999, 1e-8),
        theirs(torch.optim.Adam, lr=0.001),
    ),
    "adamw": (
        AdamW(0.01, CONSTANT, None, 0.8, 0.95, 1e-4, 0.3),
        theirs(torch.optim.AdamW, lr=0.01, betas=(0.8, 0.95), eps=1e-4, weight_decay=0.3),
    ),
    "radam": (
        RAdam(0.01, CONSTANT, None, 0.8, 0.95, 1e-4),
        theirs(torch.optim.RAdam, lr=0.01, betas=(0.8, 0.95), eps=1e-4),
    ),
    "radam-default": (
        RAdam(0.001, CONSTANT, None, 0.9, 0.999, 1e-8),
        theirs(torch.optim.RAdam, lr=0.001),
    ),
    "radam-short": (  # of which too little is known for ever
        RAdam(0.01, CONSTANT, None, 0.9, 0.5, 1e-8),
        theirs(torch.optim.RAdam, lr=0.01, betas=(0.9, 0.5)),
    ),
    "rmsprop": (
        RmsProp(0.01, CONSTANT, None, 0.9, 1e-3, 0.0, False),
        theirs(torch.optim.RMSprop, lr=0.01, alpha=0.9, eps=1e-3),
    ),
    "rmsprop-momentum": (
        RmsProp(0.01, CONSTANT, None, 0.9, 1e-3, 0.7, False),
        theirs(torch.optim.RMSprop, lr=0.01, alpha=0.9, eps=1e-3, momentum=0.7),
    ),
    "rmsprop-centered": (
        RmsProp(0.01, CONSTANT, None, 0.9, 1e-3, 0.0, True),
        theirs(torch.optim.RMSprop, lr=0.01, alpha=0.9, eps=1e-3, centered=True),
    ),
    "rmsprop-centered-momentum": (
        RmsProp(0.01, CONSTANT, None, 0.95, 1e-2, 0.5, True),
        theirs(torch.optim.RMSprop, lr=0.01, alpha=0.95, eps=1e-2, momentum=0.5, centered=True),
    ),
    "sgd": (Sgd(0.05, CONSTANT, None, 0.0), theirs(torch.optim.SGD, lr=0.05)),
    "sgd-momentum": (
        Sgd(0.05, CONSTANT, None, 0.9),
        theirs(torch.optim.SGD, lr=0.05, momentum=0.9),
    ),
}
OURS = pytest.mark.parametrize("ours", [pair[0] for pair in PAIRS.values()], ids=list(PAIRS))
GradientOf = Callable[[Tensor, int], Tensor]


def begun(optimizer: Optimizer, parameters: Tensor) -> OptimizerState:
    """What there is before the first step."""
    moments = tuple(torch.zeros_like(parameters) for _ in range(optimizer.moments))
    return OptimizerState(
        parameters.clone(), moments, torch.zeros(optimizer.moments, dtype=torch.float64)
    )


def steps(
    optimizer: Optimizer, start: Tensor, gradient_of: GradientOf, factors: Iterable[float]
) -> Iterator[OptimizerState]:
    """A step with each of `factors`."""
    after = begun(optimizer, start)
    for count, factor in enumerate(factors, 1):
        gradient = gradient_of(after.parameters, count)
        after = optimizer.step(after, gradient, ONE * factor)
        assert len(after.moments) == optimizer.moments
        assert {each.shape for each in after.moments} == {start.shape}
        assert {each.dtype for each in (after.parameters, *after.moments)} == {start.dtype}
        assert after.corrections.shape == (optimizer.moments,)
        assert after.corrections.dtype == torch.float64
        yield after


def run(
    optimizer: Optimizer, start: Tensor, gradient_of: GradientOf, factors: list[float]
) -> Tensor:
    """Where the parameters end after a step with each of `factors`."""
    return list(steps(optimizer, start, gradient_of, factors))[-1].parameters


def bumpy(parameters: Tensor, count: int) -> Tensor:
    noise = torch.from_numpy(np.random.default_rng(count).normal(size=len(parameters)))
    return (parameters - 1 + noise).to(parameters.dtype)


def wavy(parameters: Tensor, count: int) -> Tensor:
    """Cheaper than `bumpy`, for many steps."""
    return parameters - math.sin(count)


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
    for count, after in enumerate(steps(ours, start(), bumpy, factors), 1):
        parameters.grad = bumpy(parameters.detach(), count)
        optimizer.step()
        rate.step()
        torch.testing.assert_close(after.parameters, parameters.detach(), rtol=1e-10, atol=1e-11)
    assert count == 50
    assert (after.parameters - start()).abs().min() > 1e-5


@pytest.mark.parametrize("name", ["adam", "adam-default", "adamw", "radam", "radam-default"])
def test_thousands_of_steps_agree_with_torch(name: str) -> None:
    ours, reference = PAIRS[name]
    parameters = start().requires_grad_()
    optimizer = reference([parameters])
    for count, after in enumerate(steps(ours, start(), wavy, repeat(1.0, 3000)), 1):
        parameters.grad = wavy(parameters.detach(), count)
        optimizer.step()
        torch.testing.assert_close(after.parameters, parameters.detach(), rtol=1e-10, atol=1e-11)


# Also without any memory, and with one of a hundred thousand steps.
ADAMS = [PAIRS[name][0] for name in ("adam", "adam-default", "adamw")] + [
    Adam(0.01, CONSTANT, None, 0.0, 0.5, 1e-8),
    Adam(0.01, CONSTANT, None, 0.99, 0.99999, 1e-8),
    AdamW(0.01, CONSTANT, None, 0.9, 0.999, 1e-8, 0.3),
    RAdam(0.01, CONSTANT, None, 0.9, 0.0, 1e-8),
]


@pytest.mark.parametrize("adam", ADAMS)
def test_after_t_steps_adams_corrections_are_one_less_the_power_of_each_beta(adam: Adam) -> None:
    betas = [adam.beta1, adam.beta2]
    one = torch.ones(1, dtype=torch.float64)
    for count, after in enumerate(steps(adam, one, wavy, repeat(1.0, 10_000)), 1):
        if count > 100 and count % 100:
            continue
        # 1 - exp(t log(beta)), which loses no digits where the power is close to 1
        expected = [-math.expm1(count * math.log(beta)) if beta else 1.0 for beta in betas]
        assert after.corrections.tolist() == pytest.approx(expected, rel=1e-12, abs=0)
    assert count == 10_000
    assert expected[0] == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("adam", ADAMS)
def test_corrections_are_those_of_adam_whatever_the_gradient_rate_and_precision(
    adam: Adam,
) -> None:
    plain = [after.corrections for after in steps(adam, start(), bumpy, [1.0] * 20)]
    other = steps(adam, start().float(), lambda parameters, _: 0 * parameters, [0.0] * 20)
    for expected, after in zip(plain, other, strict=True):
        assert torch.equal(after.corrections, expected)


@pytest.mark.parametrize("name", [name for name in PAIRS if "adam" not in name])
def test_optimisers_without_a_correction_leave_it_as_it_is(name: str) -> None:
    ours, _ = PAIRS[name]
    for after in steps(ours, start(), bumpy, [1.0] * 5):
        assert after.corrections.tolist() == [0] * ours.moments
    given = torch.arange(1, ours.moments + 1, dtype=torch.float64) / 7
    after = ours.step(after._replace(corrections=given.clone()), start(), ONE)
    assert torch.equal(after.corrections, given)


@OURS
def test_a_step_changes_nothing_in_place(ours: Optimizer) -> None:
    before = list(steps(ours, start(), bumpy, [1.0] * 3))[-1]
    gradient, tensors = start(), [before.parameters, *before.moments, before.corrections]
    copies = [each.clone() for each in tensors]
    ours.step(before, gradient, ONE)
    assert all(map(torch.equal, tensors, copies))
    assert torch.equal(gradient, start())


def test_the_first_steps_of_adam_by_hand() -> None:
    optimizer = Adam(0.1, CONSTANT, None, 0.9, 0.99, 1.0)
    three = torch.tensor([3.0], dtype=torch.float64)
    after = optimizer.step(begun(optimizer, three), three, ONE)
    parameters, moments, corrections = after
    # mean 0.1 * 3 = 0.3 and square 0.01 * 9 = 0.09; corrected, 3 and 9: 3 - 0.1 * 3 / (3 + 1)
    assert [each.item() for each in moments] == pytest.approx([0.3, 0.09])
    assert corrections.tolist() == pytest.approx([0.1, 0.01])
    assert parameters.item() == pytest.approx(2.925)
    parameters, _, corrections = optimizer.step(after, -three, ONE)
    # mean 0.9 * 0.3 - 0.3 = -0.03 over 1 - 0.81: -3 / 19; square 0.0891 + 0.09 over 0.0199: 9
    assert corrections.tolist() == pytest.approx([0.19, 0.0199])
    assert parameters.item() == pytest.approx(2.925 + 0.1 * (3 / 19) / (3 + 1))


def test_adamw_shrinks_the_parameters_even_without_a_gradient() -> None:
    optimizer = AdamW(0.1, CONSTANT, None, 0.9, 0.99, 1e-8, 0.5)
    zero = torch.zeros(1, dtype=torch.float64)
    parameters = optimizer.step(begun(optimizer, zero + 2), zero, ONE).parameters
    assert parameters.item() == pytest.approx(1.9)  # 2 * (1 - 0.1 * 0.5)


def test_momentum_repeats_a_share_of_the_step_before() -> None:
    gradients = [1.0, 0.0, 0.0]
    end = run(
        Sgd(0.5, CONSTANT, None, 0.5),
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
    optimizer, gradient = Adam(1.0, CONSTANT, None, 0.9, 0.999, 1e-8), torch.tensor([1.0])
    parameters = optimizer.step(begun(optimizer, torch.zeros(1)), gradient, ONE).parameters
    # 1 - 0.999 computed in float32 would be off by 1e-5, and its root by half of that.
    assert parameters.item() == pytest.approx(-1.0, abs=1e-6)


@OURS
def test_a_zero_gradient_moves_nothing_but_decay(ours: Optimizer) -> None:
    end = run(ours, start(), lambda parameters, _: torch.zeros_like(parameters), [1.0] * 3)
    decay = getattr(ours, "weight_decay", 0.0)
    torch.testing.assert_close(end, start() * (1 - ours.lr * decay) ** 3)


@pytest.mark.parametrize(
    ("max_grad_norm", "scale"),
    [(None, 1.0), (100.0, 1.0), (5.0, 1.0), (2.5, 0.5), (1e-3, 2e-4)],
)
def test_a_gradient_is_clipped_to_its_largest_norm(
    max_grad_norm: float | None, scale: float
) -> None:
    gradient = torch.tensor([3.0, 0.0, -4.0], dtype=torch.float64)  # its norm is 5
    clipped, norm = Sgd(0.1, CONSTANT, max_grad_norm, 0.0).clipped(gradient)
    assert clipped.tolist() == pytest.approx([3 * scale, 0, -4 * scale], rel=1e-6)
    assert norm.item() == 5
    assert gradient.tolist() == [3, 0, -4]


def test_without_a_bound_not_a_bit_of_a_gradient_changes() -> None:
    gradient = 1e30 * start()
    clipped, norm = Sgd(0.1, CONSTANT, None, 0.0).clipped(gradient)
    assert torch.equal(clipped, gradient)
    assert torch.equal(norm, gradient.norm())


def test_a_gradient_of_zero_can_be_clipped() -> None:
    clipped, norm = Sgd(0.1, CONSTANT, 1.0, 0.0).clipped(torch.zeros(3))
    assert clipped.tolist() == [0, 0, 0]
    assert norm.item() == 0


def test_each_member_of_a_population_may_have_a_largest_norm_of_its_own() -> None:
    bounds, gradients = torch.tensor([1.0, 2.5, 100.0]).double(), torch.stack([start()] * 3)

    def clipped(bound: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
        return Sgd(0.1, CONSTANT, bound, 0.0).clipped(gradient)

    together, _ = torch.func.vmap(clipped)(bounds, gradients)
    for member in range(3):
        torch.testing.assert_close(together[member], clipped(bounds[member], start())[0])
    expected = bounds.clamp(max=start().norm())
    torch.testing.assert_close(together.norm(dim=1), expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("progress", "constant", "linear"),
    [(0.0, 1.0, 1.0), (0.25, 1.0, 0.75), (1.0, 1.0, 0.0), (1.5, 1.0, 0.0)],
)
def test_the_schedules_of_the_learning_rate(
    progress: float, constant: float, linear: float
) -> None:
    assert Schedule.constant.factor(progress) == constant
    assert Schedule.linear.factor(progress) == linear
