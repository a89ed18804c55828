"""A bonus of one's own: how badly a model predicts the observation that follows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.auxiliary import Auxiliary
from dqn_cli.agent.batch import Batch
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.model import Model, NetworkOutputs
from dqn_cli.agent.parameters import Layout
from dqn_cli.ranges import Count, NonNegative


@dataclass
class ForwardModel(Auxiliary):
    """A model learns observations from observations and actions; its error is the bonus.

    This is the forward half of ICM (Pathak et al. 2017, eq. 5 and 6), without learned features.
    """

    weight: NonNegative = 1.0
    scale: NonNegative = 1.0
    units: Count = 64

    def layout(self, model: Model) -> Layout:
        """Return the layout of two linear layers."""
        size = model.spaces.observation_size
        hidden = layers.linear_layout("hidden", size + model.spaces.actions, self.units)
        return hidden | layers.linear_layout("out", self.units, size)

    def loss(
        self, p: Parameters, model: Model, outputs: NetworkOutputs, batch: Batch
    ) -> Tensor | None:
        """Return `weight` times the squared error of each prediction, [batch]."""
        return self.weight * self._error(p, model, batch)

    def bonus(self, p: Parameters, model: Model, batch: Batch) -> Tensor | None:
        """Return `scale` times that error, [batch]."""
        return self.scale * self._error(p, model, batch)

    def _error(self, p: Parameters, model: Model, batch: Batch) -> Tensor:
        actions = torch.arange(model.spaces.actions, device=batch.action.device)
        one_hot = (actions == batch.action[:, None]).to(batch.obs.dtype)  # [batch, actions]
        x = torch.cat([batch.obs.flatten(1), one_hot], 1)  # [batch, size + actions]
        predicted = layers.dense(p, "out", layers.hidden(p, "hidden", x))
        return (predicted - batch.next_obs.flatten(1)).square().sum(1)
