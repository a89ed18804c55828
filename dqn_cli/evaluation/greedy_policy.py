"""The greedy policy of a trained agent."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dqn_cli.agent.exploration import best_action, legal_values
from dqn_cli.agent.model import Model
from dqn_cli.arrays import Array


@dataclass
class GreedyPolicy:
    """The best legal action: no epsilon, no noise, implicit quantiles at their midpoints.

    With a recurrent network, the state of each row is kept from call to call.
    """

    model: Model
    parameters: Tensor  # [size]

    def __post_init__(self) -> None:
        """Start without any row."""
        self._state = self.parameters.new_zeros(0, self.model.state_size)

    @torch.no_grad()
    def __call__(self, obs: Array, mask: Array, episode_start: Array) -> Array:
        """Return the actions [batch].

        Args:
            obs: Observations [batch, *shape].
            mask: Legal actions [batch, actions].
            episode_start: True where the observation is the first of an episode, [batch].
        """
        parameters = self.parameters
        if len(self._state) != len(obs):
            self._state = parameters.new_zeros(len(obs), self.model.state_size)
        state = self._state * torch.from_numpy(~episode_start).to(parameters)[:, None]
        inputs = torch.from_numpy(obs).to(parameters)
        q, self._state = self.model.act(parameters, inputs, state, parameters.new_zeros(0))
        return best_action(legal_values(q.cpu().numpy(), mask))
