"""Categorical head: the distribution of returns on a fixed support (C51)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dqn_cli.agent.heads import Head
from dqn_cli.ranges import Real, Several


@dataclass
class C51(Head):
    """Probabilities of `atoms` returns from `v_min` to `v_max` (Bellemare et al. 2017).

    z holds logits; a TD target holds probabilities.
    """

    atoms: Several
    v_min: Real
    v_max: Real

    @property
    def outputs(self) -> int:
        """One logit for each atom."""
        return self.atoms

    def support(self, like: Tensor) -> Tensor:
        """Return the support: the return that each atom stands for, [atoms]."""
        share = torch.arange(self.atoms, dtype=like.dtype, device=like.device) / (self.atoms - 1)
        return (self.v_min + (self.v_max - self.v_min) * share).to(like.dtype)

    def q(self, z: Tensor) -> Tensor:
        """Return the mean of each distribution of logits."""
        return self.mean(z.softmax(-1))

    def mean(self, target: Tensor) -> Tensor:
        """Return the mean of each distribution of probabilities."""
        return (target * self.support(target)).sum(-1)

    def backup(
        self, reward: Tensor, discount: Tensor, z: Tensor, policy: Tensor, shift: Tensor | None
    ) -> Tensor:
        """Scale and shift the next distribution, and project it on the support (algorithm 1).

        The policy mixes probabilities, not logits. Each action's atoms are shifted before.
        """
        support = self.support(z)
        mass = policy.unsqueeze(2) * z.softmax(2)  # [batch, actions, atoms]
        if shift is None:
            returns = reward[:, None] + discount[:, None] * support  # [batch, atoms]
            return self._project(returns, mass.sum(1))
        moved = support + shift.unsqueeze(2)  # [batch, actions, atoms]
        returns = reward[:, None, None] + discount[:, None, None] * moved
        return self._project(returns.flatten(1), mass.flatten(1))  # [batch, atoms]

    def td_loss(self, z: Tensor, target: Tensor, taus: Tensor) -> Tensor:
        """Return the KL divergence, whose gradient is that of the cross-entropy."""
        return (target.xlogy(target) - target * z.log_softmax(1)).sum(1)  # [batch]

    def edge_mass(self, target: Tensor) -> Tensor:
        """Return the probability of the first and the last atom."""
        return target[:, 0] + target[:, -1]

    def _project(self, returns: Tensor, mass: Tensor) -> Tensor:
        """Split mass [batch, n] at returns [batch, n] between the nearest atoms: [batch, atoms]."""
        spacing = (self.v_max - self.v_min) / (self.atoms - 1)
        support = self.support(returns)
        inside = torch.minimum(torch.maximum(returns, support[0]), support[-1])
        # Eq. 7: an atom's share is 1 minus its distance, in units of the spacing.
        distance = (inside.unsqueeze(1) - support[:, None]).abs() / spacing  # [batch, atoms, n]
        return ((1 - distance).clamp(min=0) * mass.unsqueeze(1)).sum(2)  # [batch, atoms]
