"""The greedy policy of a trained agent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.exploration import best_action
from dqn_cli.arrays import Array


@dataclass
class GreedyPolicy:
    """Takes the best legal action, always: no epsilon, no noise."""

    agent: Agent
    parameters: Tensor  # [size]

    @torch.no_grad()
    def __call__(self, obs: Array, mask: Array) -> Array:
        """Actions [batch] for observations [batch, *shape] and legal actions [batch, actions]."""
        parameters = self.parameters
        q = self.agent.q(parameters, torch.from_numpy(obs).to(parameters.device, parameters.dtype))
        return best_action(q.cpu().numpy(), mask)
