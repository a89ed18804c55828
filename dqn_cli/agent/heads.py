"""Heads: how values are read from z, backed up, and compared with their TD targets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import torch.nn.functional as F
from torch import Tensor

from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.parameters import Layout

Layers = Callable[[Tensor], Tensor]  # [rows, features] to [rows, actions, outputs]
Function = Callable[[Tensor], Tensor]  # of each element


class Loss(Enum):
    """Function of the TD error that is minimised."""

    huber = "huber"
    squared = "squared"

    def of(self, z: Tensor, target: Tensor) -> Tensor:
        """Return the loss of each element; Huber's delta is 1, as in Mnih et al. 2015."""
        function = F.mse_loss if self is Loss.squared else F.huber_loss
        return function(z, target, reduction="none")


@dataclass
class Head:
    """Base of all heads; the last axis of z has the atoms that describe one action's value.

    Most heads use the network's outputs as z. A head that computes each atom separately also has
    parameters of its own (`embedding`), expands the features before the network's last layers
    (`expand`) and folds their outputs into z (`fold`).
    """

    @property
    def outputs(self) -> int:
        """Outputs of the network for each action."""
        raise NotImplementedError

    @property
    def samples(self) -> int:
        """Quantile levels that are drawn at random for each observation of an update."""
        return 0

    @property
    def mixed(self) -> int:
        """Atoms that an update mixes at random; 0 if none are."""
        return 0

    @property
    def prior_scale(self) -> float | None:
        """Factor of a random function that is added to z and never trained; None for none."""
        return None

    def split(self, z: Tensor) -> Tensor:
        """Return z [batch, actions, atoms] with a row for each value function, [rows, actions, n].

        Each value function bootstraps from itself: an update rule gives each a policy of its own.
        The rows of an observation follow each other, and n is atoms * batch / rows.
        """
        return z

    def q(self, z: Tensor) -> Tensor:
        """Return the expected returns [...] of z [..., atoms]."""
        raise NotImplementedError

    def mean(self, target: Tensor) -> Tensor:
        """Return the expected returns [batch] of TD targets [batch, atoms]."""
        return self.q(target)

    def backup(
        self, reward: Tensor, discount: Tensor, z: Tensor, policy: Tensor, shift: Tensor | None
    ) -> Tensor:
        """Compute TD targets from what follows: the Bellman backup.

        Args:
            reward: Discounted sum of rewards, [batch].
            discount: Factor of the next value, [batch].
            z: The target network's z of the next observations, [batch, actions, atoms].
            policy: Probability of each next action, [batch, actions].
            shift: Added to the value of each next action, [batch, actions]; None for 0.

        Returns:
            TD targets, [batch, atoms].
        """
        raise NotImplementedError

    def td_loss(self, z: Tensor, target: Tensor, taus: Tensor) -> Tensor:
        """Return the loss of each sample, [batch].

        Args:
            z: Of the actions taken, [batch, atoms].
            target: Their TD targets, [batch, atoms].
            taus: Quantile levels that z was computed at, [batch, samples].
        """
        raise NotImplementedError

    def sample_error(self, z: Tensor, target: Tensor) -> Tensor:
        """Return the error of each sample [batch], of which replay makes priorities.

        Args:
            z: Of the actions taken, [batch, atoms].
            target: Their TD targets, [batch, atoms].
        """
        return (self.q(z) - self.mean(target)).abs()

    def edge_mass(self, target: Tensor) -> Tensor:
        """Return the probability [batch] of each TD target at the edges of a fixed support."""
        return target.new_zeros(target.shape[0])

    def taus(self, like: Tensor) -> Tensor:
        """Return the quantile levels used for acting and selecting actions, [batch, atoms]."""
        return like.new_zeros(like.shape[0], 0)

    def embedding(self, features: int) -> Layout:
        """Return the layout of the head's own parameters, for a number of features."""
        return {}

    def expand(self, p: Parameters, features: Tensor) -> Tensor:
        """Return the inputs of the network's last layers, [rows, features]."""
        return features

    def fold(self, p: Parameters, z: Tensor) -> Tensor:
        """Return z, from the outputs of the network's last layers [rows, actions, outputs]."""
        return z

    def compute_z(self, p: Parameters, features: Tensor, last_layers: Layers) -> Tensor:
        """Return z [batch, actions, atoms] of features [batch, features]."""
        return self.fold(p, last_layers(self.expand(p, features)))

    def on_returns(self, function: Function, values: Tensor) -> Tensor:
        """Return z, or a TD target, with a function of each return in it."""
        return function(values)


def backup_atoms(
    reward: Tensor, discount: Tensor, z: Tensor, policy: Tensor, shift: Tensor | None
) -> Tensor:
    """Compute the TD target of each atom by itself, [batch, atoms]; for `Head.backup`."""
    return reward[:, None] + discount[:, None] * mix_actions(z, policy, shift)


def mix_actions(z: Tensor, policy: Tensor, shift: Tensor | None) -> Tensor:
    """Return the policy's mean of each atom over the shifted actions, [batch, atoms]."""
    moved = z if shift is None else z + shift.unsqueeze(2)  # [batch, actions, atoms]
    return (policy.unsqueeze(2) * moved).sum(1)


@dataclass
class Scalar(Head):
    """One number for each action: its expected return (Mnih et al. 2015)."""

    loss: Loss

    @property
    def outputs(self) -> int:
        """One number."""
        return 1

    def q(self, z: Tensor) -> Tensor:
        """Return the single atom."""
        return z.squeeze(-1)

    def backup(
        self, reward: Tensor, discount: Tensor, z: Tensor, policy: Tensor, shift: Tensor | None
    ) -> Tensor:
        """Compute r + discount * sum_a policy(a) (q(a) + shift(a))."""
        q = self.q(z)
        next_value = (policy * (q if shift is None else q + shift)).sum(1)
        return (reward + discount * next_value).unsqueeze(1)  # [batch, 1]

    def td_loss(self, z: Tensor, target: Tensor, taus: Tensor) -> Tensor:
        """Return the squared or Huber loss."""
        return self.loss.of(z, target).squeeze(1)  # [batch]

    def error(self, z: Tensor, target: Tensor) -> Tensor:
        """Return the TD errors [batch] with their signs; Huber's derivative clips them to [-1, 1].

        Args:
            z: Of the actions taken, [batch, 1].
            target: Their TD targets, [batch, 1].
        """
        error = (target - z).squeeze(1)  # [batch]
        return error if self.loss is Loss.squared else error.clamp(-1, 1)
