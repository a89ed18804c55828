"""Values in the units of a squashed return, for rewards of very different sizes (R2D2)."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dqn_cli.agent.heads import Function, Head, Layers
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.parameters import Layout

EPSILON = 1e-3  # keeps the inverse Lipschitz continuous (Kapturowski et al. 2019, section 2.3)


def squash(x: Tensor) -> Tensor:
    """Return h(x) = sign(x) (sqrt(|x| + 1) - 1) + epsilon x (Pohlen et al. 2018, section 3.1)."""
    return x.sign() * ((x.abs() + 1).sqrt() - 1) + EPSILON * x


def unsquash(y: Tensor) -> Tensor:
    """Return the inverse of `squash` (Pohlen et al. 2018, proposition A.2)."""
    root = (1 + 4 * EPSILON * (y.abs() + 1 + EPSILON)).sqrt()
    return y.sign() * (((root - 1) / (2 * EPSILON)).square() - 1)


@dataclass
class Rescaled(Head):
    """A head whose atoms are squashed returns; its action values are returns.

    The target is h(r + discount * h^-1(z)), computed for each atom (Kapturowski et al. 2019, eq. 1
    for one atom). Its loss compares squashed returns.
    """

    head: Head

    @property
    def outputs(self) -> int:
        """Those of the head."""
        return self.head.outputs

    @property
    def samples(self) -> int:
        """Those of the head."""
        return self.head.samples

    @property
    def mixed(self) -> int:
        """Those of the head."""
        return self.head.mixed

    @property
    def prior_scale(self) -> float | None:
        """That of the head, of squashed returns."""
        return self.head.prior_scale

    def split(self, z: Tensor) -> Tensor:
        """Return z with a row for each value function of the head."""
        return self.head.split(z)

    def q(self, z: Tensor) -> Tensor:
        """Return the expected returns [...] of squashed atoms z [..., atoms]."""
        return self.head.q(self.on_returns(unsquash, z))

    def mean(self, target: Tensor) -> Tensor:
        """Return the expected returns [batch] of squashed TD targets [batch, atoms]."""
        return self.head.mean(self.on_returns(unsquash, target))

    def backup(
        self, reward: Tensor, discount: Tensor, z: Tensor, policy: Tensor, shift: Tensor | None
    ) -> Tensor:
        """Back up returns, and squash the result."""
        returns = self.on_returns(unsquash, z)
        return self.on_returns(squash, self.head.backup(reward, discount, returns, policy, shift))

    def td_loss(self, z: Tensor, target: Tensor, taus: Tensor) -> Tensor:
        """Return the head's loss of squashed returns."""
        return self.head.td_loss(z, target, taus)

    def sample_error(self, z: Tensor, target: Tensor) -> Tensor:
        """Return the head's error of squashed returns."""
        return self.head.sample_error(z, target)

    def taus(self, like: Tensor) -> Tensor:
        """Return the head's quantile levels."""
        return self.head.taus(like)

    def embedding(self, features: int) -> Layout:
        """Return the layout of the head's own parameters."""
        return self.head.embedding(features)

    def expand(self, p: Parameters, features: Tensor) -> Tensor:
        """Return the inputs of the network's last layers."""
        return self.head.expand(p, features)

    def fold(self, p: Parameters, z: Tensor) -> Tensor:
        """Return z, from the outputs of the network's last layers."""
        return self.head.fold(p, z)

    def compute_z(self, p: Parameters, features: Tensor, last_layers: Layers) -> Tensor:
        """Return the head's z."""
        return self.head.compute_z(p, features, last_layers)

    def on_returns(self, function: Function, values: Tensor) -> Tensor:
        """Return what the head does, with a function of each of its returns."""
        return self.head.on_returns(function, values)
