"""A model: a network and a head on the given spaces, which together value actions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.heads import Head
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.networks import Network
from dqn_cli.agent.parameters import Layout, size, views
from dqn_cli.agent.recurrent import Recurrent
from dqn_cli.agent.spaces import Spaces


@dataclass
class Model:
    """Pure functions of a flat vector of parameters; it holds none itself."""

    spaces: Spaces
    network: Network
    head: Head

    @cached_property
    def layout(self) -> Layout:
        """The parameters of the network."""
        return self.network.layout(self.spaces, self.head)

    @cached_property
    def noise_layout(self) -> Layout:
        """The standard normal numbers that the noisy layers take."""
        return layers.noise_of(self.layout)

    @property
    def noise_size(self) -> int:
        """How many there are of them; 0 without noisy layers."""
        return size(self.noise_layout)

    @property
    def state_size(self) -> int:
        """Numbers that a recurrent network carries from step to step; 0 for all others."""
        return self.network.state_size if isinstance(self.network, Recurrent) else 0

    def named(self, parameters: Tensor, noise: Tensor, taus: Tensor) -> Parameters:
        """Parameters [size] and random numbers as a network takes them, by name.

        Without `noise` the noisy layers have none; without `taus` there are no implicit quantiles.
        """
        p = views(parameters, self.layout)
        if noise.numel():
            p |= views(noise, self.noise_layout)
        return p | {"taus": taus} if taus.numel() else p

    def z(self, p: Parameters, obs: Tensor) -> Tensor:
        """The network's z [batch, actions, atoms] for observations [batch, *shape]."""
        return self.network(p, obs, self.spaces, self.head)

    def q(self, parameters: Tensor, obs: Tensor, noise: Tensor) -> Tensor:
        """Action values [batch, actions] of observations [batch, *shape]."""
        return self.head.q(self.z(self.named(parameters, noise, self.head.taus(obs)), obs))

    def act(
        self, parameters: Tensor, obs: Tensor, state: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Action values [batch, actions] and the next state, of observations and a state."""
        if not isinstance(self.network, Recurrent):
            return self.q(parameters, obs, noise), state
        p = self.named(parameters, noise, self.head.taus(obs))
        now = obs.unsqueeze(1)  # [batch, 1, *shape]
        z, state = self.network.unroll(p, now, state, None, self.spaces, self.head)
        return self.head.q(z), state

    def dormant(self, parameters: Tensor, obs: Tensor, threshold: float = 0.025) -> Tensor:
        """Share of hidden units that hardly react to any of obs [batch, *shape], a scalar.

        Sokar et al. 2023, definition 3.1: a unit's mean activation, over that of its layer.
        """
        p = layers.Recording(self.named(parameters, obs.new_empty(0), self.head.taus(obs)))
        self.z(p, obs)
        scores = []
        for activation in p.activations.values():
            mean = activation.abs().movedim(1, -1).flatten(0, -2).mean(0)  # [units]
            scores.append(mean / (mean.mean() + 1e-9))
        if not scores:
            return obs.new_zeros(())
        units = sum(score.numel() for score in scores)
        return sum((score <= threshold).sum() for score in scores) / obs.new_tensor(units)
