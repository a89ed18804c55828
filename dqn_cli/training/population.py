"""A population: the mathematics of agents of one structure, side by side, on tensors alone.

Everything has a leading axis [members]; what is computed for one member stands in `agent`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from dqn_cli.agent.agent import Agent, Surprise
from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.agent.layers import is_spectral, renewed
from dqn_cli.agent.optimizers import OptimizerState
from dqn_cli.arrays import Values, tensor
from dqn_cli.replay.samplers import Drawn, Sources
from dqn_cli.training.members import per_member
from dqn_cli.training.random_inputs import Numbers, draws_of


class Batches(Protocol):
    """What an update takes its batches from; a sampler, or what makes them."""

    def pick(self, sources: Any, drawn: Drawn) -> Any:
        """Which samples were drawn."""

    def batch(self, sources: Any, picked: Any) -> Batch | Sequences:
        """The batch of those, [members, batch]."""

    def learned(self, sources: Any, picked: Any, surprise: Surprise) -> None:
        """What the update found of each of them."""


class ReadyMade:
    """Batches that come as they are."""

    def pick(self, sources: Any, drawn: Drawn) -> Drawn:
        """What is given."""
        return drawn

    def batch(self, sources: Any, picked: Any) -> Batch | Sequences:
        """What is given."""
        batch: Batch | Sequences = picked
        return batch

    def learned(self, sources: Any, picked: Any, surprise: Surprise) -> None:
        """Whoever made them learns of it elsewhere."""


class LearnerState(NamedTuple):
    """All that learning changes."""

    parameters: Tensor  # [members, size]
    target: Tensor  # [members, size]
    moments: Tensor  # [members, moments, size]
    corrections: Tensor  # [members, moments], float64, of the moments' bias

    @property
    def step(self) -> OptimizerState:
        """What an optimiser's step changes, on the same memory."""
        return OptimizerState(self.parameters, self.moments.unbind(1), self.corrections)


class Metrics(NamedTuple):
    """What updates see, each a number."""

    loss: Tensor
    q: Tensor
    td_error: Tensor
    edge_mass: Tensor
    gradient_norm: Tensor


class Functions(NamedTuple):
    """What is computed for each member."""

    loss: Callable[..., Any]
    step: Callable[..., Any]
    act: Callable[..., Any]
    dormant: Callable[..., Any]


class Population:
    """Functions of the members' parameters and scalars; only `update` changes what it is given."""

    def __init__(
        self, agents: Sequence[Agent], batches: Batches, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.batches, self._dtype, self._device = batches, dtype, device
        self._agent = agents[0]
        self._keys = tuple(self._agent.scalars)
        values = [[agent.scalars[key] for agent in agents] for key in self._keys]
        self.scalars = torch.tensor(values, dtype=torch.float64).to(device)  # [scalars, members]
        self._own = self._functions(self.scalars)

    def update(
        self,
        before: OptimizerState,
        target: Tensor,
        metrics: Tensor,
        scalars: Tensor,
        sources: Sources | tuple[()],
        drawn: Drawn,
        numbers: Numbers,
        factors: Tensor,
    ) -> Surprise:
        """One gradient step, in place; `factors` [members] multiply the learning rates.

        What it sees is added to `metrics` [members, len(Metrics)], and each sample's surprise, of
        [members, batch], told to where batches come from and given back.
        """
        functions = self._with(scalars)
        picked = self.batches.pick(sources, drawn)
        batch = self._placed(self.batches.batch(sources, picked))
        parameters = before.parameters.detach().requires_grad_()
        draws = draws_of(numbers)
        loss, estimates, surprise = functions.loss(parameters, target, batch, draws)
        # Members share nothing, so the gradient of their sum holds each one's own.
        (gradient,) = torch.autograd.grad(loss.sum(), parameters)
        after, norm = functions.step(before, gradient, factors)
        with torch.no_grad():
            before.parameters.copy_(after.parameters)
            for own, moment in zip(before.moments, after.moments, strict=True):
                own.copy_(moment)
            before.corrections.copy_(after.corrections)
            metrics.add_(torch.stack([*estimates, norm], 1))  # [members, len(Metrics)]
            self.batches.learned(sources, picked, Surprise(*surprise))
        return Surprise(*surprise)

    @torch.no_grad()
    def act(
        self, parameters: Tensor, scalars: Tensor, obs: Values, state: Values, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Action values [members, envs, actions] and the next recurrent states."""
        inputs = (self._moved(tensor(each)) for each in (obs, state))
        values, after = self._with(scalars).act(parameters, *inputs, noise)
        return values, after

    @torch.no_grad()
    def dormant(self, parameters: Tensor, obs: Values) -> Tensor:
        """Share of dormant hidden units [members], on observations [members, n, *shape]."""
        share: Tensor = self._own.dormant(parameters, self._moved(tensor(obs)))
        return share

    def _with(self, scalars: Tensor) -> Functions:
        # Others than its own are those that a compiler traces.
        return self._own if scalars is self.scalars else self._functions(scalars)

    def _functions(self, scalars: Tensor) -> Functions:
        """One member's mathematics, made to work on all with these scalars."""
        named = dict(zip(self._keys, scalars, strict=True))
        each = (
            Agent.loss,
            _step,
            lambda agent, *inputs: agent.model.act(*inputs),
            lambda agent, *inputs: agent.model.dormant(*inputs),
        )
        return Functions(*(per_member(self._agent, named, function) for function in each))

    def _placed(self, batch: Batch | Sequences) -> Batch | Sequences:
        """The batch on the learner's device; bytes and floats in its precision."""
        exact = (torch.int64, torch.bool)
        moved = (self._moved(x) if x.dtype not in exact else x.to(self._device) for x in batch)
        return Batch(*moved) if isinstance(batch, Batch) else Sequences(*moved)

    def _moved(self, values: Tensor) -> Tensor:
        # Bytes travel as bytes.
        return values.to(self._device).to(self._dtype)


@torch.no_grad()
def _step(
    agent: Agent, before: OptimizerState, gradient: Tensor, factor: Tensor
) -> tuple[OptimizerState, Tensor]:
    norm = gradient.norm()
    if agent.update.max_grad_norm is not None:
        gradient = gradient * (agent.update.max_grad_norm / (norm + 1e-6)).clamp(max=1)
    after = agent.optimizer.step(before, gradient, factor)
    if is_spectral(agent.layout):
        after = after._replace(parameters=renewed(after.parameters, agent.layout))
    return after, norm
