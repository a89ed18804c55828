"""An agent: the parts chosen for one run, and the loss in which they meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dqn_cli.agent.batch import Batch, Draws, Sequences
from dqn_cli.agent.heads import Head
from dqn_cli.agent.model import Model
from dqn_cli.agent.network_outputs import Answers, answers_to, of_samples
from dqn_cli.agent.networks import Network
from dqn_cli.agent.optimizers import Optimizer
from dqn_cli.agent.parameters import Layout
from dqn_cli.agent.spaces import Spaces
from dqn_cli.agent.update_rules import Update


class Estimates(NamedTuple):
    """What one loss computation saw, averaged over the batch; each is a scalar tensor."""

    loss: Tensor
    q: Tensor
    td_error: Tensor
    edge_mass: Tensor


class Surprise(NamedTuple):
    """How wrong the agent was about each sample, [batch]: by its loss, and by its TD error."""

    loss: Tensor
    td_error: Tensor


@dataclass
class Agent:
    """Network, head, update rule and optimiser for the given spaces."""

    spaces: Spaces
    network: Network
    head: Head
    update: Update
    optimizer: Optimizer

    @cached_property
    def model(self) -> Model:
        """Network and head."""
        return Model(self.spaces, self.network, self.head)

    @property
    def layout(self) -> Layout:
        """The parameters of the network."""
        return self.model.layout

    def loss(
        self, parameters: Tensor, target_parameters: Tensor, batch: Batch | Sequences, draws: Draws
    ) -> tuple[Tensor, Estimates, Surprise]:
        """Mean weighted loss of a batch (Mnih et al. 2015, eq. 2) and what it saw on the way."""
        rows, answers = answers_to(self.model, parameters, target_parameters, batch, draws)
        taken = rows.action[:, None, None].expand(-1, 1, answers.z.shape[2])  # [batch, 1, atoms]
        z = answers.z.gather(1, taken).squeeze(1)  # [batch, atoms]
        with torch.no_grad():
            target = self._target(answers, rows)
        losses = self.head.loss(z, target, answers.taus, self.update.loss)  # [batch]
        loss = (rows.weight * losses).mean()
        with torch.no_grad():
            q = self.head.q(z)
            td_error = (q - self.head.mean(target)).abs()
            counted = (rows.weight > 0).to(q.dtype)
            seen = (q, td_error, self.head.edge_mass(target))
            means = ((each * counted).sum() / counted.sum().clamp(min=1) for each in seen)
            estimates = Estimates(loss.detach(), *means)
            surprise = Surprise(of_samples(losses.detach(), batch), of_samples(td_error, batch))
        return loss, estimates, surprise

    def _target(self, answers: Answers, rows: Batch) -> Tensor:
        """What the taken actions' z should have been, [batch, atoms]."""
        next_q = self.head.q(answers.next_z)
        policy, shift = self.update.bootstrap(next_q, answers.next_q, rows.next_mask)
        bonus = self.update.bonus(answers.target_q, rows.mask, rows.action)
        reward = rows.reward if bonus is None else rows.reward + bonus
        return self.head.backup(reward, rows.discount, answers.next_z, policy, shift)

    @property
    def scalars(self) -> dict[str, float]:
        """Every number that may differ between the members of a population, by its config key."""
        return {
            f"{name}.{field.name}": value
            for name in ("network", "head", "update", "optimizer")
            for field in fields(getattr(self, name))
            if isinstance(value := getattr(getattr(self, name), field.name), float)
        }

    def with_scalars(self, scalars: Mapping[str, Any]) -> Agent:
        """The same agent with these numbers, which may be tensors, in place of its own."""
        parts: dict[str, dict[str, Any]] = {}
        for key, value in scalars.items():
            part, field = key.split(".")
            parts.setdefault(part, {})[field] = value
        changed = {name: replace(getattr(self, name), **new) for name, new in parts.items()}
        return replace(self, **changed)
