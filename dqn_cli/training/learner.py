"""The learner: each member's parameters, target and optimiser moments, and their update.

Everything has a leading axis [members]; the mathematics is written for one member, in `agent`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.agent.layers import is_spectral, renewed
from dqn_cli.agent.parameters import initial
from dqn_cli.arrays import Array, Values, tensor
from dqn_cli.replay.samplers import Drawn, Replay, Sampler, Sources
from dqn_cli.training.compiler import Compiler, uncompiled
from dqn_cli.training.draws import Numbers, draws_of, numbers_for, rows_of
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


class Seen(NamedTuple):
    """What an update gives back."""

    metrics: Tensor  # [len(Metrics), members]
    surprise: Tensor  # [2, members, batch]: each sample's loss and its TD error


class Functions(NamedTuple):
    """What is computed for each member."""

    loss: Callable[..., Any]
    step: Callable[..., Any]
    act: Callable[..., Any]
    dormant: Callable[..., Any]


class Learner:
    """Agents of one structure that learn side by side; an update changes `state` in place."""

    def __init__(
        self,
        agents: Sequence[Agent],
        weights: Iterable[np.random.Generator],
        dtype: torch.dtype,
        device: torch.device,
        sampler: Sampler[Replay] | None = None,
        compiler: Compiler = uncompiled,
    ) -> None:
        """Draws each agent's initial parameters from its own stream in `weights`.

        With a `sampler` an update takes what it draws; without one it takes batches.
        """
        self._agents, self._model, self._sampler = agents, agents[0].model, sampler
        self._like = torch.zeros(len(agents), dtype=dtype, device=device)
        parameters = self._drawn(weights)
        members, size = parameters.shape
        self.state = LearnerState(
            parameters,
            parameters.clone(),
            self._like.new_zeros(members, agents[0].optimizer.moments, size),
            torch.zeros(members, dtype=torch.float64, device=device),
        )
        self._keys = tuple(agents[0].scalars)
        values = [[agent.scalars[key] for agent in agents] for key in self._keys]
        self._scalars = torch.tensor(values, dtype=torch.float64).to(device)  # [scalars, members]
        self._bound = self._functions(self._scalars.clone())
        self._sources: Sources | tuple[()] = sampler.sources if sampler else ()
        self._update = compiler(self._updated, (self.state, self._scalars, self._sources))
        self._act = compiler(self._acted, (self.state.parameters, self._scalars))
        self._row_counts: dict[torch.Size, int] = {}
        nothing = (self._like.new_zeros(members, parts, 0) for parts in (2, 3))
        self._no_numbers = Numbers(next(nothing).unsqueeze(2), next(nothing))
        self._no_noise = self._like.new_zeros(members, 0)
        self._noise_size, self._samples = self._model.noise_size, self._model.head.samples
        self._factor, self._factors = 1.0, torch.ones_like(self.state.updates)

    def update(self, drawn: Drawn, noise: Randomness, factor: float) -> Seen:
        """One gradient step on what was drawn; `factor` multiplies the learning rate."""
        numbers = self._numbers(drawn, noise)
        if factor != self._factor:
            self._factor, self._factors = factor, torch.full_like(self.state.updates, factor)
        return Seen(*self._update(drawn, numbers, self._factors))

    def blend_target(self, tau: float) -> None:
        """Moves the target parameters this share of the way to the online ones."""
        if tau:
            self.state.target.lerp_(self.state.parameters, tau)

    def load(self, state: LearnerState) -> None:
        """Goes on from the state of a learner of the same structure."""
        for own, other in zip(self.state, state, strict=True):
            own.copy_(other)

    def reset(self, weights: Iterable[np.random.Generator]) -> None:
        """Draws the network's last layers anew and forgets their moments (Nikishin et al. 2022)."""
        last = torch.cat(
            [
                torch.full((int(np.prod(parameter.shape)),), self._model.network.is_last(name))
                for name, parameter in self._model.layout.items()
            ]
        ).to(self._like.device)  # [size]
        fresh, state = self._drawn(weights), self.state
        self.load(
            state._replace(
                parameters=torch.where(last, fresh, state.parameters),
                target=torch.where(last, fresh, state.target),
                moments=state.moments * ~last,
            )
        )

    def act(self, obs: Array, state: Array, noise: Randomness) -> tuple[Array, Array]:
        """Action values [members, envs, actions] and next states [members, envs, state].

        Of observations [members, envs, *shape] and states; noisy layers get fresh noise.
        """
        draw = self._no_noise
        if self._noise_size:
            draw = torch.from_numpy(noise.normal(self._noise_size)).to(self._like)
        values, after = self._act(obs, state, draw)
        return values.cpu().numpy(), after.cpu().numpy()

    def values(self, obs: Array, noise: Randomness) -> Array:
        """Action values [members, n, actions] of observations [members, n, *shape]."""
        none = np.zeros((*obs.shape[:2], self._model.state_size), np.float32)
        return self.act(obs, none, noise)[0]

    @torch.no_grad()
    def dormant(self, obs: Array) -> Array:
        """Share of dormant hidden units [members], on observations [members, n, *shape]."""
        share = self._bound.dormant(self.state.parameters, torch.from_numpy(obs).to(self._like))
        return np.asarray(share.cpu().numpy())

    def _drawn(self, weights: Iterable[np.random.Generator]) -> Tensor:
        pairs = zip(self._agents, weights, strict=True)
        return torch.stack([initial(agent.layout, random) for agent, random in pairs]).to(
            self._like
        )  # [members, size]

    def _updated(
        self,
        state: LearnerState,
        scalars: Tensor,
        sources: Any,
        drawn: Drawn,
        numbers: Numbers,
        factors: Tensor,
    ) -> Seen:
        """One update of `state` in place."""
        functions = self._functions(scalars)
        batch = self._placed(self._batch(sources, drawn))
        parameters = state.parameters.detach().requires_grad_()
        loss, estimates, surprise = functions.loss(
            parameters, state.target, batch, draws_of(numbers)
        )
        # Members share nothing, so the gradient of their sum holds each one's own.
        (gradient,) = torch.autograd.grad(loss.sum(), parameters)
        after, norm = functions.step(state, gradient, factors)
        with torch.no_grad():
            for own, new in zip(state, after, strict=True):
                own.copy_(new)
        return Seen(torch.stack([*estimates, norm]), torch.stack(surprise))

    @torch.no_grad()
    def _acted(
        self, parameters: Tensor, scalars: Tensor, obs: Values, state: Values, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Action values and next states."""
        device, dtype = self._like.device, self._like.dtype
        inputs = (tensor(each).to(device, dtype) for each in (obs, state))
        values, after = self._functions(scalars).act(parameters, *inputs, noise)
        return values, after

    def _functions(self, scalars: Tensor) -> Functions:
        """One member's mathematics, made to work on all with these scalars."""
        if scalars is self._scalars:
            return self._bound
        named = dict(zip(self._keys, scalars, strict=True))
        each = (
            Agent.loss,
            _step,
            lambda agent, *inputs: agent.model.act(*inputs),
            lambda agent, *inputs: agent.model.dormant(*inputs),
        )
        return Functions(*(per_member(self._agents[0], named, function) for function in each))

    def _batch(self, sources: Any, drawn: Drawn) -> Batch | Sequences:
        """What was drawn, as a batch; without a sampler it is one."""
        return self._sampler.batch(sources, drawn) if self._sampler else cast(Batch, drawn)

    def _numbers(self, drawn: Drawn, noise: Randomness) -> Numbers:
        """Random numbers of one update."""
        if not (self._noise_size or self._samples):
            return self._no_numbers
        shape = drawn[0].shape
        if shape not in self._row_counts:
            batch = self._batch(self._sources, drawn)
            self._row_counts[shape] = rows_of(self._model, batch)
        return numbers_for(self._model, self._row_counts[shape], noise, self._like)

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
