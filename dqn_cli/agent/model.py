"""A model: a network and a head, which together compute action values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.batch import Batch, RandomInputs, Sequences
from dqn_cli.agent.heads import Head
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.networks import Network
from dqn_cli.agent.normalization import Normalization, normalization_layout, normalize
from dqn_cli.agent.parameters import Layout, size, views
from dqn_cli.agent.recurrent import Recurrent
from dqn_cli.agent.spaces import Spaces
from dqn_cli.agent.update_rules import LazyValues


class NetworkOutputs(NamedTuple):
    """Outputs on a batch: z is [batch, actions, atoms], action values are [batch, actions]."""

    z: Tensor  # online network at obs; the only field that gradients flow through
    taus: Tensor  # [batch, samples], the quantile levels of that z
    next_z: Tensor  # target network at next_obs
    next_q: LazyValues  # online network at next_obs
    target_q: LazyValues  # target network at obs


@dataclass
class Model:
    """Pure functions of a flat vector of parameters; the model itself holds none."""

    spaces: Spaces
    network: Network
    head: Head
    normalization: Normalization = Normalization.none

    @cached_property
    def layout(self) -> Layout:
        """Names, shapes and initial ranges of the parameters; what does not learn comes last."""
        return self.network_layout | self.constant_layout

    @cached_property
    def network_layout(self) -> Layout:
        """The part of the layout that is learned."""
        layout = self.network.layout(self.spaces, self.head)
        return {name: entry for name, entry in layout.items() if entry.learns}

    @cached_property
    def constant_layout(self) -> Layout:
        """The part of the layout that has no gradient; that of normalization comes last."""
        layout = self.network.layout(self.spaces, self.head)
        constants = {name: entry for name, entry in layout.items() if not entry.learns}
        return constants | normalization_layout(self.spaces, self.normalization)

    @cached_property
    def noise_layout(self) -> Layout:
        """Names and shapes of the standard normal numbers that noisy layers take."""
        return layers.noise_layout(self.layout)

    @property
    def noise_size(self) -> int:
        """Count of these numbers; 0 without noisy layers."""
        return size(self.noise_layout)

    @property
    def state_size(self) -> int:
        """Size of a recurrent network's state; 0 for all others."""
        return self.network.state_size if isinstance(self.network, Recurrent) else 0

    def named(self, parameters: Tensor, noise: Tensor, taus: Tensor) -> Parameters:
        """Return parameters [size] and random numbers by name, as a network takes them.

        Args:
            parameters: All parameters, [size].
            noise: Numbers for the noisy layers [noise_size]; without noise if empty.
            taus: Quantile levels [rows, samples]; none if empty.
        """
        p = views(parameters, self.layout)
        if noise.numel():
            p |= views(noise, self.noise_layout)
        return p | {"taus": taus} if taus.numel() else p

    def z(self, p: Parameters, obs: Tensor) -> Tensor:
        """Return the network's z [batch, actions, atoms] for observations [batch, *shape]."""
        return self.network.forward(p, self.normalized(p, obs), self.spaces, self.head)

    def normalized(self, p: Parameters, obs: Tensor) -> Tensor:
        """Return observations [..., *shape] as the network takes them."""
        return normalize(p, obs, self.spaces)

    def q(self, parameters: Tensor, obs: Tensor, noise: Tensor) -> Tensor:
        """Return action values [batch, actions] of observations [batch, *shape]."""
        return self.head.q(self.z(self.named(parameters, noise, self.head.taus(obs)), obs))

    def evaluate(
        self, parameters: Tensor, target_parameters: Tensor, batch: Batch, random: RandomInputs
    ) -> NetworkOutputs:
        """Evaluate the online and the target network, with parameters [size], on transitions."""
        taus = random.online_taus
        z = self.z(self.named(parameters, random.online_noise, taus), batch.obs)
        with torch.no_grad():
            if batch.next_obs.numel():
                target = self.named(target_parameters, random.target_noise, random.target_taus)
                next_z = self.z(target, batch.next_obs)
            else:
                next_z = torch.zeros_like(z)
        return NetworkOutputs(
            z,
            taus,
            next_z,
            lambda: self.q(parameters, batch.next_obs, random.selection_noise),
            lambda: self.q(target_parameters, batch.obs, random.target_noise),
        )

    def evaluations(self, batch: Batch | Sequences) -> int:
        """Return how many observations of a batch [members, batch] are evaluated per member."""
        rows = batch.action.shape[1]
        if isinstance(batch, Sequences):
            assert isinstance(self.network, Recurrent)
            rows *= batch.obs.shape[2] - self.network.burn_in
        return rows

    def act(
        self, parameters: Tensor, obs: Tensor, state: Tensor, noise: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return action values [batch, actions] and the next recurrent state [batch, state]."""
        return self.values(self.named(parameters, noise, self.head.taus(obs)), obs, state)

    def values(self, p: Parameters, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `act` does, of parameters and random numbers by name."""
        if not isinstance(self.network, Recurrent):
            return self.head.q(self.z(p, obs)), state
        step = self.normalized(p, obs).unsqueeze(1)  # [batch, 1, *shape]
        z, state = self.network.unroll(p, step, state, None, self.spaces, self.head)
        return self.head.q(z), state

    def dormant(self, parameters: Tensor, obs: Tensor, threshold: float = 0.025) -> Tensor:
        """Return the share of hidden units that hardly react to any of obs [batch, *shape].

        A unit is dormant where its score is at most `threshold`.
        """
        scores = list(self.unit_scores(parameters, obs).values())
        if not scores:
            return obs.new_zeros(())
        units = sum(score.numel() for score in scores)
        return sum((score <= threshold).sum() for score in scores) / obs.new_tensor(units)

    def unit_scores(self, parameters: Tensor, obs: Tensor) -> dict[str, Tensor]:
        """Return scores [units] of each hidden layer, by its name, on obs [batch, *shape].

        A score is a unit's mean activation, divided by the mean of its layer (Sokar et al. 2023,
        definition 3.1).
        """
        p = layers.RecordingParameters(
            self.named(parameters, obs.new_empty(0), self.head.taus(obs))
        )
        self.z(p, obs)
        scores = {}
        for name, activation in p.activations.items():
            mean = activation.abs().movedim(1, -1).flatten(0, -2).mean(0)  # [units]
            scores[name] = mean / (mean.mean() + 1e-9)
        return scores
