"""The learner: each member's parameters, target and optimiser moments, and their update.

Everything has a leading axis [members]; the mathematics is written for one member, in `agent`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.batch import Batch
from dqn_cli.agent.parameters import initial
from dqn_cli.arrays import Array
from dqn_cli.training.members import per_member


class LearnerState(NamedTuple):
    """All that learning changes."""

    parameters: Tensor  # [members, size]
    target: Tensor  # [members, size]
    moments: Tensor  # [members, moments, size]
    updates: Tensor  # [members], float64: how many were made


class Metrics(NamedTuple):
    """What one update saw; each is [members]."""

    loss: Tensor
    q: Tensor
    td_error: Tensor
    gradient_norm: Tensor


class Learner:
    """Agents of one structure that learn side by side; `state` is replaced by each update."""

    def __init__(
        self,
        agents: Sequence[Agent],
        weights: Sequence[np.random.Generator],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """Draws each agent's initial parameters from its own stream in `weights`."""
        agent = agents[0]
        parameters = torch.stack([initial(agent.layout, random) for random in weights])
        parameters = parameters.to(device, dtype)  # [members, size]
        members, size = parameters.shape
        self.state = LearnerState(
            parameters,
            parameters.clone(),
            torch.zeros(members, agent.optimizer.moments, size, dtype=dtype, device=device),
            torch.zeros(members, dtype=torch.float64, device=device),
        )
        scalars = {
            key: torch.tensor([each.scalars[key] for each in agents], dtype=torch.float64).to(
                device
            )
            for key in agent.scalars
        }
        self._loss = per_member(agent, scalars, Agent.loss)
        self._step = per_member(agent, scalars, _step)
        self._q = per_member(agent, scalars, Agent.q)
        self._device, self._dtype = device, dtype

    def update(self, batch: Batch, factor: float) -> Metrics:
        """One gradient step on a batch [members, batch]; `factor` multiplies the learning rate."""
        batch = self._placed(batch)
        parameters = self.state.parameters.detach().requires_grad_()
        loss, estimates = self._loss(parameters, self.state.target, batch)
        # Members share nothing, so the gradient of their sum holds each one's own.
        (gradient,) = torch.autograd.grad(loss.sum(), parameters)
        factors = torch.full_like(self.state.updates, factor)
        self.state, gradient_norm = self._step(self.state, gradient, factors)
        return Metrics(estimates.loss, estimates.q, estimates.td_error, gradient_norm)

    def _placed(self, batch: Batch) -> Batch:
        """The batch on the learner's device; bytes and floats in its precision."""
        exact = (torch.int64, torch.bool)
        return Batch(
            *(x.to(self._device, x.dtype if x.dtype in exact else self._dtype) for x in batch)
        )

    def blend_target(self, tau: float) -> None:
        """Moves the target parameters this share of the way to the online ones."""
        if tau:
            target = torch.lerp(self.state.target, self.state.parameters, tau)
            self.state = self.state._replace(target=target)

    @torch.no_grad()
    def q(self, obs: Array) -> Array:
        """Action values [members, envs, actions] of observations [members, envs, *shape]."""
        values = self._q(self.state.parameters, torch.from_numpy(obs).to(self._device, self._dtype))
        return np.asarray(values.cpu().numpy())


@torch.no_grad()
def _step(
    agent: Agent, state: LearnerState, gradient: Tensor, factor: Tensor
) -> tuple[LearnerState, Tensor]:
    norm = gradient.norm()
    if agent.update.max_grad_norm is not None:
        gradient = gradient * (agent.update.max_grad_norm / (norm + 1e-6)).clamp(max=1)
    updates = state.updates + 1
    parameters, moments = agent.optimizer.step(
        state.parameters, gradient, state.moments, updates, factor
    )
    return LearnerState(parameters, state.target, moments, updates), norm
