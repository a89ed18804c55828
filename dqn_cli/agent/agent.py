"""An agent: the parts chosen for one run, and the loss in which they meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dqn_cli.agent.batch import Batch, RandomInputs, Sequences
from dqn_cli.agent.heads import Head
from dqn_cli.agent.layers import has_spectral_norm, power_iteration
from dqn_cli.agent.model import Model, NetworkOutputs
from dqn_cli.agent.networks import Network
from dqn_cli.agent.normalization import Normalization
from dqn_cli.agent.optimizers import Optimizer, OptimizerState
from dqn_cli.agent.parameters import Layout, size
from dqn_cli.agent.sequences import evaluate_sequences, sequence_errors
from dqn_cli.agent.spaces import Spaces
from dqn_cli.agent.update_rules import UpdateRule

PARTS = ("network", "head", "update", "optimizer")


class Metrics(NamedTuple):
    """Means over the batch of one update; each is a scalar, or [members] in a population."""

    loss: Tensor
    q_mean: Tensor  # of the actions taken
    td_error: Tensor  # absolute
    edge_mass: Tensor  # probability at the edges of C51's support
    gradient_norm: Tensor  # before clipping; 0 as long as only the loss is known


class SampleErrors(NamedTuple):
    """Errors of each sample [batch]; replay makes priorities of them."""

    loss: Tensor
    td_error: Tensor  # absolute


@dataclass
class Agent:
    """Network, head, update rule and optimizer for the given spaces."""

    spaces: Spaces
    network: Network
    head: Head
    update: UpdateRule
    optimizer: Optimizer
    normalization: Normalization = Normalization.none

    @cached_property
    def model(self) -> Model:
        """Network and head."""
        return Model(self.spaces, self.network, self.head, self.normalization)

    @property
    def layout(self) -> Layout:
        """Names, shapes and initial ranges of the network's parameters."""
        return self.model.layout

    def loss(
        self,
        parameters: Tensor,
        target_parameters: Tensor,
        batch: Batch | Sequences,
        random: RandomInputs,
    ) -> tuple[Tensor, Metrics, SampleErrors]:
        """Compute the mean weighted loss of a batch (Mnih et al. 2015, eq. 2).

        Args:
            parameters: Of the online network, [size].
            target_parameters: Of the target network, [size].
            batch: Transitions, or sequences for a recurrent network.
            random: Random numbers for noisy layers and implicit quantiles.

        Returns:
            The loss, a scalar that gradients flow through; metrics; errors of each sample.
        """
        transitions, outputs = self._evaluate(parameters, target_parameters, batch, random)
        taken = transitions.action[:, None, None].expand(-1, 1, outputs.z.shape[2])
        z = outputs.z.gather(1, taken).squeeze(1)  # [batch, atoms]
        with torch.no_grad():
            target = self._td_target(outputs, transitions)
        losses = self.head.td_loss(z, target, outputs.taus)  # [batch]
        loss = (transitions.weight * losses).mean()
        with torch.no_grad():
            q = self.head.q(z)
            td_error = (q - self.head.mean(target)).abs()
            counted = (transitions.weight > 0).to(q.dtype)
            q_mean, mean_td_error, edge_mass = (
                (values * counted).sum() / counted.sum().clamp(min=1)
                for values in (q, td_error, self.head.edge_mass(target))
            )
            unknown = torch.zeros_like(loss)
            metrics = Metrics(loss.detach(), q_mean, mean_td_error, edge_mass, unknown)
            errors = SampleErrors(losses.detach(), td_error)
            if isinstance(batch, Sequences):
                errors = SampleErrors(*(sequence_errors(error, batch) for error in errors))
        return loss, metrics, errors

    def step(
        self, state: OptimizerState, gradient: Tensor, lr_factor: Tensor
    ) -> tuple[OptimizerState, Tensor]:
        """Take one optimizer step along a gradient [size].

        Returns:
            The state after the step, and the gradient's norm before it was clipped.
        """
        before = state.parameters
        gradient, norm = self.optimizer.clipped(gradient)
        state = self.optimizer.step(state, gradient, lr_factor)
        if constants := size(self.model.normalization_layout):
            # Weight decay would shrink them.
            parts = [state.parameters[:-constants], before[-constants:]]
            state = state._replace(parameters=torch.cat(parts))  # [size]
        if has_spectral_norm(self.layout):
            state = state._replace(parameters=power_iteration(state.parameters, self.layout))
        return state, norm

    def act(
        self, parameters: Tensor, obs: Tensor, state: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return action values [batch, actions] and the next recurrent state."""
        return self.model.act(parameters, obs, state, noise)

    def dormant(self, parameters: Tensor, obs: Tensor) -> Tensor:
        """Return the share of dormant hidden units on obs [batch, *shape], a scalar."""
        return self.model.dormant(parameters, obs)

    def _evaluate(
        self,
        parameters: Tensor,
        target_parameters: Tensor,
        batch: Batch | Sequences,
        random: RandomInputs,
    ) -> tuple[Batch, NetworkOutputs]:
        """Return the batch as transitions, and the outputs of both networks for them."""
        if isinstance(batch, Sequences):
            return evaluate_sequences(self.model, parameters, target_parameters, batch, random)
        return batch, self.model.evaluate(parameters, target_parameters, batch, random)

    def _td_target(self, outputs: NetworkOutputs, transitions: Batch) -> Tensor:
        """Compute the TD target of the taken actions, [batch, atoms]."""
        next_q = self.head.q(outputs.next_z)
        policy, shift = self.update.bootstrap(next_q, outputs.next_q, transitions.next_mask)
        bonus = self.update.bonus(outputs.target_q, transitions.mask, transitions.action)
        reward = transitions.reward if bonus is None else transitions.reward + bonus
        return self.head.backup(reward, transitions.discount, outputs.next_z, policy, shift)

    @property
    def scalars(self) -> dict[str, float]:
        """Every number that may differ between the members of a population, by config key."""
        return {
            f"{name}.{field.name}": value
            for name in PARTS
            for field in fields(getattr(self, name))
            if isinstance(value := getattr(getattr(self, name), field.name), float)
        }

    def with_scalars(self, scalars: Mapping[str, Any]) -> Agent:
        """Return the same agent with these numbers, which may be tensors, in place of its own."""
        parts: dict[str, dict[str, Any]] = {}
        for key, value in scalars.items():
            part, field = key.split(".")
            parts.setdefault(part, {})[field] = value
        changed = {name: replace(getattr(self, name), **new) for name, new in parts.items()}
        return replace(self, **changed)
