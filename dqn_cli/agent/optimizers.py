"""Optimizers as pure functions of a flat parameter vector, its gradient and their moments."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

import torch
from torch import Tensor

from dqn_cli.ranges import Decay, NonNegative, Positive


class Schedule(Enum):
    """Course of the learning rate over a run."""

    constant = "constant"
    linear = "linear"

    def factor(self, progress: float) -> float:
        """Return the factor of the learning rate at this fraction of the run, 0 to 1."""
        return 1.0 if self is Schedule.constant else max(1.0 - progress, 0.0)


class OptimizerState(NamedTuple):
    """Tensors that a step changes; moments and corrections are zeros before the first step.

    Corrections are for optimizers that correct the bias which the zeros cause.
    """

    parameters: Tensor  # [size]
    moments: tuple[Tensor, ...]  # each [size]
    corrections: Tensor  # [moments], float64


@dataclass
class Optimizer:
    """Base of all optimizers."""

    lr: Positive
    schedule: Schedule
    max_grad_norm: Positive | None

    @property
    def moments(self) -> int:
        """Number of vectors, as long as the parameters, that are carried from step to step."""
        raise NotImplementedError

    def clipped(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient [size], its norm clipped to `max_grad_norm`, and its norm before."""
        norm = gradient.norm()
        if self.max_grad_norm is not None:
            gradient = gradient * (self.max_grad_norm / (norm + 1e-6)).clamp(max=1)
        return gradient, norm

    def step(self, state: OptimizerState, gradient: Tensor, lr_factor: Tensor) -> OptimizerState:
        """Take one step along a gradient [size]; `lr_factor` multiplies the learning rate."""
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

    def step(self, state: OptimizerState, gradient: Tensor, lr_factor: Tensor) -> OptimizerState:
        """Step against the bias-corrected mean divided by the root of the mean square."""
        parameters, moments, corrections = state
        mean = moments[0] + (1 - self.beta1) * (gradient - moments[0])
        square = moments[1] + (1 - self.beta2) * (gradient * gradient - moments[1])
        # 1 - beta^t, computed recursively because powers are slow. It needs float64: in float32,
        # 1 - beta2 alone is off by 1e-5.
        mean_correction = corrections[0] + (1 - self.beta1) * (1 - corrections[0])
        square_correction = corrections[1] + (1 - self.beta2) * (1 - corrections[1])
        step_size = (lr_factor * self.lr / mean_correction).to(parameters.dtype)
        after = parameters - step_size * self.direction(mean, square, square_correction)
        return OptimizerState(
            after, (mean, square), torch.stack([mean_correction, square_correction])
        )

    def direction(self, mean: Tensor, square: Tensor, correction: Tensor) -> Tensor:
        """Return the mean over the root of the mean square, bias-corrected by `correction`."""
        root = correction.sqrt().to(square.dtype)
        # The fraction is extended by the root, which saves one division for each parameter.
        return mean * root / (square.sqrt() + self.eps * root)


@dataclass
class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov & Hutter 2019, algorithm 2)."""

    weight_decay: NonNegative

    def step(self, state: OptimizerState, gradient: Tensor, lr_factor: Tensor) -> OptimizerState:
        """Shrink the parameters, then take Adam's step."""
        shrink = (1 - lr_factor * self.lr * self.weight_decay).to(gradient.dtype)
        state = state._replace(parameters=state.parameters * shrink)
        return super().step(state, gradient, lr_factor)


@dataclass
class RAdam(Adam):
    """Adam with a rectified step size (RAdam, Liu et al. 2020, algorithm 2)."""

    def direction(self, mean: Tensor, square: Tensor, correction: Tensor) -> Tensor:
        """Return the rectified direction, or the mean alone as long as its variance diverges."""
        power = 1 - correction  # beta2^t
        log_beta = torch.as_tensor(self.beta2, dtype=power.dtype).log()
        longest = 2 / (1 - self.beta2) - 1
        # t * beta2^t = p * log(p) / log(beta2) with p = beta2^t, so steps need not be counted.
        length = longest - 2 * torch.special.xlogy(power, power) / (log_beta * correction)
        share = (length - 4) * (length - 2) * longest
        rectified = (share / ((longest - 4) * (longest - 2) * length)).sqrt() * correction.sqrt()
        adapted = mean * rectified.to(mean.dtype) / (square.sqrt() + self.eps)
        return torch.where(length > 5, adapted, mean)


@dataclass
class RmsProp(Optimizer):
    """RMSProp (Hinton 2012) with momentum; centered as in Mnih et al. 2015 or not."""

    decay: Decay
    eps: Positive
    momentum: Decay
    centered: bool

    @property
    def moments(self) -> int:
        """Running means of the square and of the gradient, and the momentum."""
        return 3

    def step(self, state: OptimizerState, gradient: Tensor, lr_factor: Tensor) -> OptimizerState:
        """Step against the gradient divided by its running deviation."""
        parameters, moments, corrections = state
        square = moments[0] + (1 - self.decay) * (gradient * gradient - moments[0])
        mean = moments[1] + (1 - self.decay) * (gradient - moments[1])
        variance = square - mean * mean if self.centered else square
        direction = gradient / (variance.clamp(min=0).sqrt() + self.eps)
        velocity = self.momentum * moments[2] + direction
        step_size = (lr_factor * self.lr).to(parameters.dtype)
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

    def step(self, state: OptimizerState, gradient: Tensor, lr_factor: Tensor) -> OptimizerState:
        """Step against the running sum of gradients."""
        parameters, moments, corrections = state
        velocity = self.momentum * moments[0] + gradient
        step_size = (lr_factor * self.lr).to(parameters.dtype)
        return OptimizerState(parameters - step_size * velocity, (velocity,), corrections)
