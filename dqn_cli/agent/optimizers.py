"""Optimisers as pure functions of one flat parameter vector, its gradient and their own moments."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor

from dqn_cli.ranges import Decay, NonNegative, Positive


class Schedule(Enum):
    """How the learning rate goes over a run."""

    constant = "constant"
    linear = "linear"

    def factor(self, progress: float) -> float:
        """What the learning rate is multiplied with at this fraction of the run."""
        return 1.0 if self is Schedule.constant else max(1.0 - progress, 0.0)


class OptimizerState(NamedTuple):
    """What an optimiser's step leaves behind; moments and corrections are zeros before the first.

    Corrections are for optimisers that correct the bias which those zeros bring.
    """

    parameters: Tensor  # [size]
    moments: tuple[Tensor, ...]  # each [size]
    corrections: Tensor  # [moments]


@dataclass
class Optimizer:
    """What every optimiser has; `moments` vectors of its own are carried from step to step."""

    lr: Positive
    schedule: Schedule

    @property
    def moments(self) -> int:
        """How many vectors as long as the parameters it remembers."""
        raise NotImplementedError

    def step(self, before: OptimizerState, gradient: Tensor, factor: Tensor) -> OptimizerState:
        """One step along a gradient [size]; `factor` multiplies the learning rate."""
        raise NotImplementedError


@dataclass
class Adam(Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1)."""

    beta1: Decay
    beta2: Decay
    eps: Positive

    @property
    def moments(self) -> int:
        """Running means of the gradient and of its square."""
        return 2

    def step(self, before: OptimizerState, gradient: Tensor, factor: Tensor) -> OptimizerState:
        """One step against the bias-corrected mean, divided by the root of the mean square."""
        parameters, moments, corrections = before
        mean = moments[0] + (1 - self.beta1) * (gradient - moments[0])
        square = moments[1] + (1 - self.beta2) * (gradient * gradient - moments[1])
        # 1 - beta^t, step by step, for powers would be half of a compiled update. They need
        # float64: in float32, 1 - beta2 alone is off by 1e-5.
        first = corrections[0] + (1 - self.beta1) * (1 - corrections[0])
        second = corrections[1] + (1 - self.beta2) * (1 - corrections[1])
        step_size = (factor * self.lr / first).to(parameters.dtype)
        after = parameters - step_size * self.direction(mean, square, second)
        return OptimizerState(after, (mean, square), torch.stack([first, second]))

    def direction(self, mean: Tensor, square: Tensor, correction: Tensor) -> Tensor:
        """The mean over the root of the mean square, of which `correction` is known so far."""
        root = correction.sqrt().to(square.dtype)
        # Multiplied by the root above and below: one division less for each parameter.
        return mean * root / (square.sqrt() + self.eps * root)


@dataclass
class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov & Hutter 2019, algorithm 2)."""

    weight_decay: NonNegative

    def step(self, before: OptimizerState, gradient: Tensor, factor: Tensor) -> OptimizerState:
        """The parameters shrink first, then Adam's step."""
        shrink = (1 - factor * self.lr * self.weight_decay).to(gradient.dtype)
        before = before._replace(parameters=before.parameters * shrink)
        return super().step(before, gradient, factor)


@dataclass
class RAdam(Adam):
    """Adam that trusts the mean square as far as it is known (Liu et al. 2020, algorithm 2)."""

    def direction(self, mean: Tensor, square: Tensor, correction: Tensor) -> Tensor:
        """Rectified; the mean alone while too few gradients were seen."""
        power = 1 - correction  # beta2^t
        log_beta = torch.as_tensor(self.beta2, dtype=power.dtype).log()
        longest = 2 / (1 - self.beta2) - 1
        # With t beta2^t = p log(p) / log(beta2): steps need not be counted.
        length = longest - 2 * torch.special.xlogy(power, power) / (log_beta * correction)
        share = (length - 4) * (length - 2) * longest
        rectified = (share / ((longest - 4) * (longest - 2) * length)).sqrt() * correction.sqrt()
        adapted = mean * rectified.to(mean.dtype) / (square.sqrt() + self.eps)
        return torch.where(length > 5, adapted, mean)


@dataclass
class RmsProp(Optimizer):
    """RMSProp (Hinton 2012), centred as in Mnih et al. 2015 or not, with momentum."""

    decay: Decay
    eps: Positive
    momentum: Decay
    centered: bool

    @property
    def moments(self) -> int:
        """Running means of the square and of the gradient, and the momentum."""
        return 3

    def step(self, before: OptimizerState, gradient: Tensor, factor: Tensor) -> OptimizerState:
        """One step against the gradient divided by its running deviation."""
        parameters, moments, corrections = before
        square = moments[0] + (1 - self.decay) * (gradient * gradient - moments[0])
        mean = moments[1] + (1 - self.decay) * (gradient - moments[1])
        variance = square - mean * mean if self.centered else square
        direction = gradient / (variance.clamp(min=0).sqrt() + self.eps)
        velocity = self.momentum * moments[2] + direction
        step_size = (factor * self.lr).to(parameters.dtype)
        return OptimizerState(
            parameters - step_size * velocity, (square, mean, velocity), corrections
        )


@dataclass
class Sgd(Optimizer):
    """Stochastic gradient descent with momentum (Polyak 1964)."""

    momentum: Decay

    @property
    def moments(self) -> int:
        """The momentum."""
        return 1

    def step(self, before: OptimizerState, gradient: Tensor, factor: Tensor) -> OptimizerState:
        """One step against the running sum of gradients."""
        parameters, moments, corrections = before
        velocity = self.momentum * moments[0] + gradient
        step_size = (factor * self.lr).to(parameters.dtype)
        return OptimizerState(parameters - step_size * velocity, (velocity,), corrections)
