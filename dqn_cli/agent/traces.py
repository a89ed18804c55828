"""Eligibility traces: optimizers that learn from each transition once, with no replay.

The objective of an agent with traces is minus the value of the action taken. Its gradient is added
to a trace, a decaying sum of gradients, and each TD error moves the parameters along the trace.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dqn_cli.agent.batch import Batch
from dqn_cli.agent.heads import Scalar
from dqn_cli.agent.optimizers import Optimizer, OptimizerState
from dqn_cli.ranges import Decay, Positive, Probability


class TraceInputs(NamedTuple):
    """Inputs of a step along the trace, from one transition; each is a scalar."""

    error: Tensor  # TD error, with its sign
    keep: Tensor  # factor of the trace before the new gradient is added: 1, or 0 to cut it
    decay: Tensor  # factor of the trace after the step: lambda times the discount


@dataclass
class TraceOptimizer(Optimizer):
    """Base of optimizers with an eligibility trace; `trace_decay` is lambda."""

    trace_decay: Probability

    def step_on_trace(
        self, state: OptimizerState, gradient: Tensor, lr_factor: Tensor, inputs: TraceInputs
    ) -> OptimizerState:
        """Add a gradient to the trace, and take one step along it.

        Args:
            state: Parameters and moments; the first moment is the trace.
            gradient: Of minus the value of the action taken, [size].
            lr_factor: Factor of the learning rate.
            inputs: TD error of the transition, and decay of the trace.
        """
        raise NotImplementedError


@dataclass
class ObGd(TraceOptimizer):
    """Gradient descent whose steps are bounded so that they do not overshoot.

    A step along the trace z is shortened to lr / max(1, M), with
    M = lr * kappa * max(|error|, 1) * sum |z| (ObGD, Elsayed et al. 2024, algorithm 3).
    """

    kappa: Positive

    @property
    def moments(self) -> int:
        """The trace."""
        return 1

    def step_on_trace(
        self, state: OptimizerState, gradient: Tensor, lr_factor: Tensor, inputs: TraceInputs
    ) -> OptimizerState:
        """Step along the trace, with the step size bounded."""
        trace = inputs.keep * state.moments[0] + gradient
        lr = (lr_factor * self.lr).to(trace.dtype)
        overshoot = lr * self.kappa * inputs.error.abs().clamp(min=1) * trace.abs().sum()
        step = lr / overshoot.clamp(min=1) * inputs.error
        return OptimizerState(
            state.parameters - step * trace, (inputs.decay * trace,), state.corrections
        )


@dataclass
class TraceAdam(TraceOptimizer):
    """Steps along the trace, divided by the root of their mean square.

    The mean square is that of Adam, of the TD error times the trace (Gogianu et al. 2026).
    """

    beta2: Decay
    eps: Positive

    @property
    def moments(self) -> int:
        """The trace, and the running mean of the squared steps."""
        return 2

    def step_on_trace(
        self, state: OptimizerState, gradient: Tensor, lr_factor: Tensor, inputs: TraceInputs
    ) -> OptimizerState:
        """Step along the trace, in units of the steps' deviation."""
        parameters, (trace, square), corrections = state
        trace = inputs.keep * trace + gradient
        direction = inputs.error * trace
        square = square + (1 - self.beta2) * (direction * direction - square)
        # 1 - beta^t, as in `Adam`; the trace is a sum, which has no bias.
        correction = corrections[1] + (1 - self.beta2) * (1 - corrections[1])
        root = correction.sqrt().to(square.dtype)
        step_size = (lr_factor * self.lr).to(square.dtype)
        step = step_size * direction * root / (square.sqrt() + self.eps * root)
        return OptimizerState(
            parameters - step,
            (inputs.decay * trace, square),
            torch.stack([corrections[0], correction]),
        )


def trace_inputs(
    head: Scalar, z: Tensor, target: Tensor, batch: Batch, trace_decay: Tensor | float
) -> TraceInputs:
    """Return the inputs of a step along the trace, from a batch of one transition.

    Watkins's Q(lambda) (Watkins 1989): earlier actions get the TD errors of greedy actions alone.
    The trace is cut before an action that is not greedy, and where an episode begins or terminated.
    A row of weight 0 is not a transition, and leaves the trace as it is.

    Args:
        head: Head of the agent.
        z: Of all actions at obs, [1, actions, 1].
        target: TD target of the action taken, [1, 1].
        batch: The transition.
        trace_decay: Lambda.
    """
    q = head.q(z).masked_fill(~batch.mask, -float("inf"))  # [1, actions]
    taken = q.gather(1, batch.action[:, None])  # [1, 1]
    is_greedy = (taken >= q).all(1)  # [1]
    is_new = batch.weight > 0
    is_kept = (is_greedy & ~batch.starts) | ~is_new
    error = head.error(taken, target) * is_new
    decay = torch.where(is_new, trace_decay * batch.discount, 1)
    return TraceInputs(*(x.squeeze(0) for x in (error, is_kept.to(q.dtype), decay.to(q.dtype))))
