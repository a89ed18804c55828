"""A population: agents of one structure that are computed side by side, on tensors alone.

Every tensor has a leading axis [members]. The mathematics of one member is in `agent`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from operator import itemgetter
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

import torch
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.batch import Batch, Following, RandomInputs, Sequences
from dqn_cli.agent.metrics import SampleErrors
from dqn_cli.agent.optimizers import OptimizerState
from dqn_cli.arrays import Values, tensor

P = ParamSpec("P")
Result = TypeVar("Result")


class UpdateTensors(NamedTuple):
    """Tensors that keep their place in memory; an update changes all but target and scalars."""

    optimizer: OptimizerState  # its parameters are the online network's, [members, size]
    target: Tensor  # parameters of the target network, [members, size]
    metrics: Tensor  # [members, len(Metrics)], sums over updates
    scalars: Tensor  # [scalars, members], the members' own numbers


class Population:
    """Agents that differ in numbers only; a single run is a population of one."""

    def __init__(self, agents: Sequence[Agent], dtype: torch.dtype, device: torch.device) -> None:
        self._agent, self._dtype, self._device = agents[0], dtype, device
        self._keys = tuple(self._agent.scalars)
        values = [[agent.scalars[key] for agent in agents] for key in self._keys]
        self.scalars = torch.tensor(values, dtype=torch.float64).to(device)  # [scalars, members]
        # With `vmap`, a single member's operations would have twice the overhead. A large network
        # keeps the processor busy with one member at a time.
        is_busy = self._agent.network.is_busy(self._agent.spaces)
        self._vmaps = len(agents) > 1 and not is_busy
        self._own_members = self._with_scalars(self.scalars)

    def update(
        self,
        tensors: UpdateTensors,
        batch: Batch | Sequences,
        random: RandomInputs,
        lr_factors: Tensor,
        following: Following | tuple[()] = (),
    ) -> SampleErrors:
        """Take one gradient step, in place.

        Args:
            tensors: Parameters, moments and all else that an update reads; metrics are added up.
            batch: Transitions or sequences, [members, batch].
            random: Random numbers of the update, [members, ...].
            lr_factors: Factors of the learning rates, [members].
            following: What comes after the transitions, if a part reads it.

        Returns:
            Errors of each sample, [members, batch].
        """
        members = self._members(tensors.scalars)
        parameters = tensors.optimizer.parameters.detach().requires_grad_()
        loss, metrics, errors, trace = members(Agent.loss)(
            parameters, tensors.target, self._placed(batch), random, self._followed(following)
        )
        # Members share nothing, so the gradient of the sum has each member's own gradient.
        (gradient,) = torch.autograd.grad(loss.sum(), parameters)
        with torch.no_grad():
            state, norm = members(Agent.step)(tensors.optimizer, gradient, lr_factors, trace)
            _copy(state, tensors.optimizer)
            metrics = metrics._replace(gradient_norm=norm)
            tensors.metrics.add_(torch.stack([*metrics], 1))  # [members, len(Metrics)]
        return errors

    @property
    def parts(self) -> list[object]:
        """The objects whose methods compute: network, head, update rule, auxiliary parts, ..."""
        return [part for agent in self._own_members.agents for part in agent.parts.values()]

    @torch.no_grad()
    def act(
        self, parameters: Tensor, scalars: Tensor, obs: Values, state: Values, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute action values and the next recurrent states.

        Args:
            parameters: Of the online network, [members, size].
            scalars: The members' own numbers, [scalars, members].
            obs: Observations, [members, envs, *shape].
            state: Recurrent states, [members, envs, state].
            noise: For noisy layers, [members, noise size], or [members, 0] for none.

        Returns:
            Action values [members, envs, actions], or of each head [members, envs, actions, heads];
            and next states [members, envs, state].
        """
        obs, state = self._moved(tensor(obs)), self._moved(tensor(state))
        return self._members(scalars)(Agent.act)(parameters, obs, state, noise)

    @torch.no_grad()
    def dormant(self, parameters: Tensor, obs: Values) -> Tensor:
        """Return the share of dormant units [members] on obs [members, n, *shape]."""
        return self._own_members(Agent.dormant)(parameters, self._moved(tensor(obs)))

    @torch.no_grad()
    def recycle(
        self, parameters: Tensor, fresh: Tensor, obs: Values, thresholds: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Recycle dormant units on obs [members, n, *shape], as `Agent.recycle` for each member."""
        obs = self._moved(tensor(obs))
        return self._own_members(Agent.recycle)(parameters, fresh, obs, thresholds)

    @torch.no_grad()
    def observe(self, parameters: Tensor, obs: Values) -> Tensor:
        """Return the constants [members, n] after new observations [members, envs, *shape]."""
        return self._own_members(Agent.observe)(parameters, self._moved(tensor(obs)))

    def _members(self, scalars: Tensor) -> Members:
        # While a compiler traces an update, the scalars are placeholders instead of its own tensor.
        return self._own_members if scalars is self.scalars else self._with_scalars(scalars)

    def _with_scalars(self, scalars: Tensor) -> Members:
        named = dict(zip(self._keys, scalars, strict=True))
        return Members(self._agent, named, scalars.shape[1], self._vmaps)

    def _placed(self, batch: Batch | Sequences) -> Batch | Sequences:
        """Return the batch on the learner's device, bytes and floats in its precision."""
        exact = (torch.int64, torch.bool)
        moved = (self._moved(x) if x.dtype not in exact else x.to(self._device) for x in batch)
        return Batch(*moved) if isinstance(batch, Batch) else Sequences(*moved)

    def _followed(self, following: Following | tuple[()]) -> Following | tuple[()]:
        if not following:
            return ()
        obs, action, within = following
        return Following(self._moved(obs), action.to(self._device), within.to(self._device))

    def _moved(self, values: Tensor) -> Tensor:
        # The device comes first, so that bytes travel as bytes.
        return values.to(self._device).to(self._dtype)


class Members:
    """Maps a method of `Agent` over all members: `members(Agent.loss)(parameters, ...)`.

    Arguments and results of the mapped method are tensors, or tuples of them, with a leading axis
    [members].
    """

    def __init__(
        self, agent: Agent, scalars: Mapping[str, Tensor], count: int, vmaps: bool
    ) -> None:
        """Prepare the members' agents; `scalars` has the numbers [members] of each key."""
        self._agent, self._scalars, self._vmaps = agent, dict(scalars), vmaps
        numbers = [{key: value[i] for key, value in scalars.items()} for i in range(count)]
        self._agents = [] if vmaps else [agent.with_scalars(own) for own in numbers]

    @property
    def agents(self) -> list[Agent]:
        """The members' agents, or the one that is mapped over all of them."""
        return self._agents or [self._agent]

    def __call__(self, method: Callable[Concatenate[Agent, P], Result]) -> Callable[P, Result]:
        """Return the method of all members."""
        if self._vmaps:

            def one_member(scalars: Mapping[str, Tensor], *arguments: Any) -> Any:
                return method(self._agent.with_scalars(scalars), *arguments)  # type: ignore[call-arg]

            return partial(torch.func.vmap(one_member), self._scalars)

        def all_members(*arguments: P.args, **_: P.kwargs) -> Result:
            results = [
                method(agent, *(_map(itemgetter(member), x) for x in arguments))  # type: ignore[call-arg]
                for member, agent in enumerate(self._agents)
            ]
            mapped: Result = _map(_stacked, *results)
            return mapped

        return all_members


def _copy(new: OptimizerState, old: OptimizerState) -> None:
    """Copy the new values into the old tensors."""
    old.parameters.copy_(new.parameters)
    for old_moment, moment in zip(old.moments, new.moments, strict=True):
        old_moment.copy_(moment)
    old.corrections.copy_(new.corrections)


def _stacked(*values: Tensor) -> Tensor:
    return torch.stack(values) if len(values) > 1 else values[0].unsqueeze(0)  # [members, ...]


def _map(function: Callable[..., Tensor], *values: Any) -> Any:
    """Apply a function to tensors, or to the tensors at the same place of nested tuples."""
    first = values[0]
    if isinstance(first, Tensor):
        return function(*values)
    mapped = (_map(function, *items) for items in zip(*values, strict=True))
    return type(first)(*mapped) if hasattr(first, "_fields") else tuple(mapped)
