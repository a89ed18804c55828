"""A model: a network and a head, which together compute action values."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
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

PRIOR = "prior."  # before the names of parameters of a head's prior


class NetworkOutputs(NamedTuple):
    """Outputs on a batch: z is [batch, actions, atoms].

    Action values are those of each value function of the head, [rows, actions]; see `Head.split`.
    """

    z: Tensor  # online network at obs; the only field that gradients flow through
    taus: Tensor  # [batch, samples], the quantile levels of that z
    next_z: Tensor  # target network at next_obs
    next_q: LazyValues  # online network at next_obs
    target_q: LazyValues  # target network at obs

    def z_of(self, action: Tensor) -> Tensor:
        """Return the z of one action for each row [batch], [batch, atoms]."""
        index = action[:, None, None].expand(-1, 1, self.z.shape[2])  # [batch, 1, atoms]
        return self.z.gather(1, index).squeeze(1)  # [batch, atoms]


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
        normalization = normalization_layout(self.spaces, self.normalization)
        return constants | self._prior_layout | normalization

    @cached_property
    def _prior_layout(self) -> Layout:
        """Parameters of the function that a head's prior is."""
        if self.head.prior_scale is None:
            return {}
        layout = self.network.prior_layout(self.spaces, self.head)
        return {f"{PRIOR}{name}": entry._replace(learns=False) for name, entry in layout.items()}

    def initial(self, layout: Layout, random: np.random.Generator) -> Tensor:
        """Draw initial values of a layout that has the model's, a flat float64 vector [size]."""
        own = {name: entry for name, entry in layout.items() if name not in self._prior_layout}
        flat = self.network.initial(own, self.spaces, random)
        if not self._prior_layout:
            return flat
        prior = {name.removeprefix(PRIOR): entry for name, entry in self._prior_layout.items()}
        drawn = views(self.network.initial(prior, self.spaces, random), self._prior_layout)
        named = views(flat, own) | drawn
        return torch.cat([named[name].flatten() for name in layout])  # [size]

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

    def named(
        self, parameters: Tensor, noise: Tensor, taus: Tensor, mixture: Tensor | None = None
    ) -> Parameters:
        """Return parameters [size] and random numbers by name, as a network takes them.

        Args:
            parameters: All parameters, [size].
            noise: Numbers for the noisy layers [noise_size]; without noise if empty.
            taus: Quantile levels [rows, samples]; none if empty.
            mixture: Weights of an ensemble's heads [heads], which are then mixed to one.
        """
        p = views(parameters, self.layout)
        if noise.numel():
            p |= views(noise, self.noise_layout)
        if mixture is not None and mixture.numel():
            p |= {"mixture": mixture}
        return p | {"taus": taus} if taus.numel() else p

    def z(self, p: Parameters, obs: Tensor) -> Tensor:
        """Return the network's z [batch, actions, atoms] for observations [batch, *shape]."""
        obs = self.normalized(p, obs)
        z = self.network.forward(p, obs, self.spaces, self.head)
        return self.with_prior(p, obs, z)

    def with_prior(self, p: Parameters, obs: Tensor, z: Tensor) -> Tensor:
        """Return the network's z [batch, actions, atoms] with the head's prior, if it has one.

        The prior is a network of the same kind, whose parameters never change. That of a recurrent
        network reads each normalized observation [batch, *shape] alone.
        """
        scale = self.head.prior_scale
        if scale is None:
            return z
        fixed = {name.removeprefix(PRIOR): p[name].detach() for name in self._prior_layout}
        if "mixture" in p:
            fixed["mixture"] = p["mixture"]
        return z + scale * self.network.forward(fixed, obs, self.spaces, self.head)

    def normalized(self, p: Parameters, obs: Tensor) -> Tensor:
        """Return observations [..., *shape] as the network takes them."""
        return normalize(p, obs, self.spaces)

    def q(self, parameters: Tensor, obs: Tensor, noise: Tensor) -> Tensor:
        """Return action values [batch, actions] of observations [batch, *shape]."""
        return self.head.q(self.z(self.named(parameters, noise, self.head.taus(obs)), obs))

    def own_q(self, parameters: Tensor, obs: Tensor, noise: Tensor, mixture: Tensor) -> Tensor:
        """Return action values [rows, actions] of each value function of the head."""
        p = self.named(parameters, noise, self.head.taus(obs), mixture)
        return self.head.q(self.head.split(self.z(p, obs)))

    def evaluate(
        self, parameters: Tensor, target_parameters: Tensor, batch: Batch, random: RandomInputs
    ) -> NetworkOutputs:
        """Evaluate the online and the target network, with parameters [size], on transitions."""
        taus, mixture = random.online_taus, random.mixture
        z = self.z(self.named(parameters, random.online_noise, taus, mixture), batch.obs)
        with torch.no_grad():
            if batch.next_obs.numel():
                numbers = random.target_noise, random.target_taus, mixture
                next_z = self.z(self.named(target_parameters, *numbers), batch.next_obs)
            else:
                next_z = torch.zeros_like(z)
        return NetworkOutputs(
            z,
            taus,
            next_z,
            lambda: self.own_q(parameters, batch.next_obs, random.selection_noise, mixture),
            lambda: self.own_q(target_parameters, batch.obs, random.target_noise, mixture),
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
        z, state = self.step(p, obs, state)
        return self.head.q(z), state

    def step(self, p: Parameters, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return z [batch, actions, atoms] and the next recurrent state [batch, state]."""
        if not isinstance(self.network, Recurrent):
            return self.z(p, obs), state
        obs = self.normalized(p, obs)
        # obs becomes [batch, 1, *shape].
        z, state = self.network.unroll(p, obs.unsqueeze(1), state, None, self.spaces, self.head)
        return self.with_prior(p, obs, z), state

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
