"""Ensembles of action-value heads: they explore by their disagreement, or are mixed at random."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from dqn_cli.agent.heads import Head, Loss, backup_atoms
from dqn_cli.agent.layers import Parameters
from dqn_cli.ranges import Count, NonNegative


@dataclass
class Ensemble(Head):
    """Several heads on one network; an atom is the value of one head (Osband et al. 2016).

    Each head bootstraps from itself, and all learn from all data. Action values are the means over
    the heads. With `prior`, that many times a random network that is never trained is added to the
    values of all heads (Osband et al. 2018, algorithm 1); null is for none. With `mixture`, an
    update learns one random convex combination of the heads in place of each head (REM, Agarwal et
    al. 2020, section 4.2).
    """

    heads: Count
    loss: Loss
    prior: NonNegative | None
    mixture: bool

    @property
    def outputs(self) -> int:
        """One number for each head."""
        return self.heads

    @property
    def mixed(self) -> int:
        """All heads, with `mixture`."""
        return self.heads if self.mixture else 0

    @property
    def prior_scale(self) -> float | None:
        """Set by `prior`."""
        return self.prior

    def fold(self, p: Parameters, z: Tensor) -> Tensor:
        """Return z, or with the weights of a mixture the one value that they give."""
        return (z * p["mixture"]).sum(-1, keepdim=True) if "mixture" in p else z

    def split(self, z: Tensor) -> Tensor:
        """Return a row for each head, [batch * heads, actions, 1]."""
        return z.transpose(1, 2).flatten(0, 1).unsqueeze(2)  # [batch * heads, actions, 1]

    def q(self, z: Tensor) -> Tensor:
        """Return the mean over the heads."""
        return z.mean(-1)

    def backup(
        self, reward: Tensor, discount: Tensor, z: Tensor, policy: Tensor, shift: Tensor | None
    ) -> Tensor:
        """Compute r + discount * sum_a policy(a) (q(a) + shift(a)) of each head."""
        return backup_atoms(reward, discount, z, policy, shift)

    def td_loss(self, z: Tensor, target: Tensor, taus: Tensor) -> Tensor:
        """Return the mean loss of the heads; each has its own target."""
        return self.loss.of(z, target).mean(1)
