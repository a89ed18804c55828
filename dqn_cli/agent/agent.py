"""An agent: the parts chosen for one run, and the loss in which they meet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dqn_cli.agent.batch import Batch
from dqn_cli.agent.heads import Head
from dqn_cli.agent.networks import Network
from dqn_cli.agent.optimizers import Optimizer
from dqn_cli.agent.parameters import Layout, views
from dqn_cli.agent.spaces import Spaces
from dqn_cli.agent.updates import Update


class Estimates(NamedTuple):
    """What one loss computation saw, averaged over the batch; each is a scalar tensor."""

    loss: Tensor
    q: Tensor
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
    def layout(self) -> Layout:
        """The parameters of the network."""
        return self.network.layout(self.spaces, self.head.atoms)

    def z(self, parameters: Tensor, obs: Tensor) -> Tensor:
        """The network's z [batch, actions, atoms] for observations [batch, *shape]."""
        named = views(parameters, self.layout)
        return self.network(named, obs, self.spaces, self.head.atoms)

    def q(self, parameters: Tensor, obs: Tensor) -> Tensor:
        """Action values [batch, actions] of observations [batch, *shape]."""
        return self.head.q(self.z(parameters, obs))

    def loss(
        self, parameters: Tensor, target_parameters: Tensor, batch: Batch
    ) -> tuple[Tensor, Estimates]:
        """Mean weighted loss of a batch (Mnih et al. 2015, eq. 2) and what it saw on the way."""
        z = self.z(parameters, batch.obs)
        taken = batch.action[:, None, None].expand(-1, 1, z.shape[2])  # [batch, 1, atoms]
        z_taken = z.gather(1, taken).squeeze(1)  # [batch, atoms]
        with torch.no_grad():
            next_z = self.z(target_parameters, batch.next_obs)
            policy = self.update.policy(
                self.head.q(next_z), lambda: self.q(parameters, batch.next_obs), batch.next_mask
            )
            target = self.head.backup(batch.reward, batch.discount, next_z, policy)
        loss = (batch.weight * self.head.loss(z_taken, target, self.update.loss)).mean()
        with torch.no_grad():
            q = z_taken.mean()
            td_error = (z_taken.mean(1) - target.mean(1)).abs().mean()
        return loss, Estimates(loss.detach(), q, td_error)

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
