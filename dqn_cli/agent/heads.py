"""Heads: how values are read from `z`, backed up, and compared with their targets."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch.nn.functional as F
from torch import Tensor


class Loss(Enum):
    """How a TD error is punished."""

    huber = "huber"
    squared = "squared"


@dataclass
class Head:
    """What every head answers; `atoms` numbers stand for one action's value."""

    @property
    def atoms(self) -> int:
        """Length of the last axis of z."""
        raise NotImplementedError

    def q(self, z: Tensor) -> Tensor:
        """Action values [batch, actions] of z [batch, actions, atoms]."""
        raise NotImplementedError

    def backup(self, reward: Tensor, discount: Tensor, z: Tensor, policy: Tensor) -> Tensor:
        """Targets [batch, atoms] from the next z [batch, actions, atoms], mixed by policy."""
        raise NotImplementedError

    def loss(self, z: Tensor, target: Tensor, kind: Loss) -> Tensor:
        """Loss of each sample [batch], for the taken actions' z and its target [batch, atoms]."""
        raise NotImplementedError


@dataclass
class Scalar(Head):
    """One number for each action: its expected return (Mnih et al. 2015)."""

    @property
    def atoms(self) -> int:
        """Always 1."""
        return 1

    def q(self, z: Tensor) -> Tensor:
        """The one atom itself."""
        return z.squeeze(-1)  # [batch, actions]

    def backup(self, reward: Tensor, discount: Tensor, z: Tensor, policy: Tensor) -> Tensor:
        """Bellman's backup, r + discount * sum_a policy(a) q(a)."""
        next_value = (policy * self.q(z)).sum(1)
        return (reward + discount * next_value).unsqueeze(1)  # [batch, 1]

    def loss(self, z: Tensor, target: Tensor, kind: Loss) -> Tensor:
        """Squared error, or Huber's with its knee at 1 (Mnih et al. 2015 clip the error there)."""
        function = F.mse_loss if kind is Loss.squared else F.huber_loss
        return function(z, target, reduction="none").squeeze(1)  # [batch]
