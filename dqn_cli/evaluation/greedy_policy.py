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
    """Takes the best legal action, always: no epsilon, no noise, implicit quantiles at midpoints.

    With a recurrent network it remembers each row's episode from call to call.
    """

    model: Model
    parameters: Tensor  # [size]

    def __post_init__(self) -> None:
        """No episode has begun yet."""
        self._state = self.parameters.new_zeros(0, self.model.state_size)

    @torch.no_grad()
    def __call__(self, obs: Array, mask: Array, fresh: Array) -> Array:
        """Actions [batch] for observations [batch, *shape] and legal actions [batch, actions].

        Where `fresh` [batch] is true an episode begins.
        """
        parameters = self.parameters
        if len(self._state) != len(obs):
            self._state = parameters.new_zeros(len(obs), self.model.state_size)
        state = self._state * torch.from_numpy(~fresh).to(parameters)[:, None]
        now = torch.from_numpy(obs).to(parameters)
        q, self._state = self.model.act(parameters, now, state, parameters.new_zeros(0))
        return best_action(legal_values(q.cpu().numpy(), mask))
