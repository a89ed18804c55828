"""Heads: how values are read from `z`, backed up, and compared with their targets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch.nn.functional as F
from torch import Tensor

from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.parameters import Layout


class Loss(Enum):
    """How a TD error is punished."""

    huber = "huber"
    squared = "squared"


@dataclass
class Head:
    """What every head answers; the last axis of z has the atoms that describe one action's value.

    Most heads take what the network puts out as z. Those that compute each atom apart also have
    parameters of their own (`embedding`), `expand` the features before the network's last layers,
    and `fold` its outputs into z.
    """

    @property
    def outputs(self) -> int:
        """How many numbers the network puts out for an action."""
        raise NotImplementedError

    @property
    def samples(self) -> int:
        """How many quantile levels are drawn at random for each observation of an update."""
        return 0

    def q(self, z: Tensor) -> Tensor:
        """Expected returns [...] of z [..., atoms]."""
        raise NotImplementedError

    def mean(self, target: Tensor) -> Tensor:
        """Expected returns [batch] of what `backup` gave [batch, atoms]."""
        return self.q(target)

    def backup(
        self, reward: Tensor, discount: Tensor, z: Tensor, policy: Tensor, shift: Tensor | None
    ) -> Tensor:
        """Targets [batch, atoms] from the next z [batch, actions, atoms], mixed by policy.

        `shift` [batch, actions] is added to each next action's value before they are mixed.
        """
        raise NotImplementedError

    def loss(self, z: Tensor, target: Tensor, taus: Tensor, kind: Loss) -> Tensor:
        """Loss of each sample [batch], for the taken actions' z and its target [batch, atoms].

        `taus` [batch, samples] are the quantile levels that z was computed at.
        """
        raise NotImplementedError

    def edge_mass(self, target: Tensor) -> Tensor:
        """Share of each target's probability [batch] that lies where no more can be told apart."""
        return target.new_zeros(target.shape[0])

    def taus(self, like: Tensor) -> Tensor:
        """Quantile levels at which values are read when nothing is learned, [batch, atoms]."""
        return like.new_zeros(like.shape[0], 0)

    def embedding(self, features: int) -> Layout:
        """Parameters of the head's own, for so many features."""
        return {}

    def expand(self, p: Parameters, features: Tensor) -> Tensor:
        """What the network's last layers get, [rows, features]."""
        return features

    def fold(self, p: Parameters, z: Tensor) -> Tensor:
        """What the network's last layers put out, [rows, actions, outputs], as z."""
        return z


@dataclass
class Scalar(Head):
    """One number for each action: its expected return (Mnih et al. 2015)."""

    @property
    def outputs(self) -> int:
        """Always 1."""
        return 1

    def q(self, z: Tensor) -> Tensor:
        """The one atom itself."""
        return z.squeeze(-1)

    def backup(
        self, reward: Tensor, discount: Tensor, z: Tensor, policy: Tensor, shift: Tensor | None
    ) -> Tensor:
        """Bellman's backup, r + discount * sum_a policy(a) (q(a) + shift(a))."""
        q = self.q(z)
        next_value = (policy * (q if shift is None else q + shift)).sum(1)
        return (reward + discount * next_value).unsqueeze(1)  # [batch, 1]

    def loss(self, z: Tensor, target: Tensor, taus: Tensor, kind: Loss) -> Tensor:
        """Squared error, or Huber's with its knee at 1 (Mnih et al. 2015 clip the error there)."""
        function = F.mse_loss if kind is Loss.squared else F.huber_loss
        return function(z, target, reduction="none").squeeze(1)  # [batch]
