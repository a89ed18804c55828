"""An auxiliary loss of one's own: values that can't be reached cost something."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dqn_cli.agent.auxiliary import Auxiliary
from dqn_cli.agent.batch import Batch
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.model import Model, NetworkOutputs
from dqn_cli.ranges import NonNegative, Real


@dataclass
class Bounded(Auxiliary):
    """Action values above the highest return are pushed back, by their squared excess."""

    needs_observations = False  # recurrent networks can have the part too

    weight: NonNegative = 1.0
    highest: Real = 1.0

    def loss(
        self, p: Parameters, model: Model, outputs: NetworkOutputs, batch: Batch
    ) -> Tensor | None:
        """Return the squared excess of all actions' values, [batch]."""
        q = model.head.q(outputs.z)  # [batch, actions]
        return self.weight * (q - self.highest).clamp(min=0).square().sum(1)
