"""The learner: each member's parameters, target and optimiser moments, and their update.

Everything has a leading axis [members]; the mathematics is written for one member, in `agent`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.agent.layers import is_spectral, renewed
from dqn_cli.agent.parameters import initial
from dqn_cli.arrays import Array
from dqn_cli.training.draws import acting_noise, draws_for
from dqn_cli.training.members import per_member
from dqn_cli.training.randomness import Randomness


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
    edge_mass: Tensor
    gradient_norm: Tensor


class Learner:
    """Agents of one structure that learn side by side; `state` is replaced by each update."""

    def __init__(
        self,
        agents: Sequence[Agent],
        weights: Iterable[np.random.Generator],
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """Draws each agent's initial parameters from its own stream in `weights`."""
        self._agents = agents
        agent = agents[0]
        self._like = torch.zeros(len(agents), dtype=dtype, device=device)
        parameters = self._drawn(weights)
        members, size = parameters.shape
        self.state = LearnerState(
            parameters,
            parameters.clone(),
            self._like.new_zeros(members, agent.optimizer.moments, size),
            torch.zeros(members, dtype=torch.float64, device=device),
        )
        scalars = {
            key: torch.tensor([each.scalars[key] for each in agents], dtype=torch.float64).to(
                device
            )
            for key in agent.scalars
        }
        self._model = agent.model
        self._loss = per_member(agent, scalars, Agent.loss)
        self._step = per_member(agent, scalars, _step)
        self._act = per_member(agent, scalars, lambda agent, *inputs: agent.model.act(*inputs))
        self._dormant = per_member(
            agent, scalars, lambda agent, *inputs: agent.model.dormant(*inputs)
        )

    def update(
        self, batch: Batch | Sequences, noise: Randomness, factor: float
    ) -> tuple[Metrics, tuple[Array, Array]]:
        """One gradient step on a batch [members, batch]; `factor` multiplies the learning rate.

        Also gives each sample's loss and TD error, [members, batch].
        """
        batch = self._placed(batch)
        draws = draws_for(self._model, batch, noise, self._like)
        parameters = self.state.parameters.detach().requires_grad_()
        loss, estimates, surprise = self._loss(parameters, self.state.target, batch, draws)
        # Members share nothing, so the gradient of their sum holds each one's own.
        (gradient,) = torch.autograd.grad(loss.sum(), parameters)
        factors = torch.full_like(self.state.updates, factor)
        self.state, gradient_norm = self._step(self.state, gradient, factors)
        losses, td_errors = (np.asarray(each.cpu().numpy()) for each in surprise)
        return Metrics(**estimates._asdict(), gradient_norm=gradient_norm), (losses, td_errors)

    def blend_target(self, tau: float) -> None:
        """Moves the target parameters this share of the way to the online ones."""
        if tau:
            target = torch.lerp(self.state.target, self.state.parameters, tau)
            self.state = self.state._replace(target=target)

    def reset(self, weights: Iterable[np.random.Generator]) -> None:
        """Draws the network's last layers anew and forgets their moments (Nikishin et al. 2022)."""
        last = torch.cat(
            [
                torch.full((int(np.prod(parameter.shape)),), self._model.network.is_last(name))
                for name, parameter in self._model.layout.items()
            ]
        ).to(self._like.device)  # [size]
        fresh, state = self._drawn(weights), self.state
        self.state = state._replace(
            parameters=torch.where(last, fresh, state.parameters),
            target=torch.where(last, fresh, state.target),
            moments=state.moments * ~last,
        )

    @torch.no_grad()
    def act(self, obs: Array, state: Array, noise: Randomness) -> tuple[Array, Array]:
        """Action values [members, envs, actions] and next states [members, envs, state].

        Of observations [members, envs, *shape] and states; noisy layers get fresh noise.
        """
        draw = acting_noise(self._model, noise, self._like)
        inputs = (torch.from_numpy(each).to(self._like) for each in (obs, state))
        values, after = self._act(self.state.parameters, *inputs, draw)
        return np.asarray(values.cpu().numpy()), np.asarray(after.cpu().numpy())

    def values(self, obs: Array, noise: Randomness) -> Array:
        """Action values [members, n, actions] of observations [members, n, *shape]."""
        none = np.zeros((*obs.shape[:2], self._model.state_size), np.float32)
        return self.act(obs, none, noise)[0]

    @torch.no_grad()
    def dormant(self, obs: Array) -> Array:
        """Share of dormant hidden units [members], on observations [members, n, *shape]."""
        share = self._dormant(self.state.parameters, torch.from_numpy(obs).to(self._like))
        return np.asarray(share.cpu().numpy())

    def _drawn(self, weights: Iterable[np.random.Generator]) -> Tensor:
        pairs = zip(self._agents, weights, strict=True)
        return torch.stack([initial(agent.layout, random) for agent, random in pairs]).to(
            self._like
        )  # [members, size]

    def _placed(self, batch: Batch | Sequences) -> Batch | Sequences:
        """The batch on the learner's device; bytes and floats in its precision."""
        exact = (torch.int64, torch.bool)
        device, dtype = self._like.device, self._like.dtype
        moved = (x.to(device, x.dtype if x.dtype in exact else dtype) for x in batch)
        return Batch(*moved) if isinstance(batch, Batch) else Sequences(*moved)


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
    if is_spectral(agent.layout):
        parameters = renewed(parameters, agent.layout)
    return LearnerState(parameters, state.target, moments, updates), norm
