"""Quantile heads: the distribution of returns by its quantiles, fixed (QR) or implicit (IQN)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.heads import Head, backup_atoms
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.parameters import Layout
from dqn_cli.ranges import Count


def midpoints(count: int, like: Tensor) -> Tensor:
    """Return the levels (2 i + 1) / 2 N of N quantiles, [count] (Dabney et al. 2018a, lemma 2)."""
    return (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) / count


def quantile_huber(
    z: Tensor, target: Tensor, taus: Tensor, weights: Tensor | None = None
) -> Tensor:
    """Return the quantile Huber loss, [batch] (Dabney et al. 2018a, eq. 10 with kappa = 1).

    The loss is summed over the quantiles and averaged over the target's samples.

    Args:
        z: Quantiles, [batch, n].
        target: Samples of the TD target, [batch, m].
        taus: Levels of the quantiles, [batch, n].
        weights: Probabilities of the samples, [batch, m]; None for equal ones.
    """

    def mean(of_samples: Tensor) -> Tensor:
        if weights is None:
            return of_samples.mean(2)
        return (of_samples * weights.unsqueeze(1)).sum(2)

    value_of_z = z.detach()
    error = target.unsqueeze(1) - value_of_z.unsqueeze(2)  # [batch, n, m]
    clipped = error.clamp(-1, 1)
    levels = taus.unsqueeze(2)
    slope = torch.where(error < 0, 1 - levels, levels) * clipped
    value = mean(slope * (error - clipped / 2))  # [batch, n]
    # This expression is linear in z and has the loss's own slope. One pass over the n times m
    # errors gives value and gradient; autograd would store the errors and pass over them again.
    return (value - mean(slope) * (z - value_of_z)).sum(1)  # [batch]


def multiply_by_levels(p: Parameters, features: Tensor, taus: Tensor, cosines: int) -> Tensor:
    """Multiply features by an embedding of each level (Dabney et al. 2018b, eq. 4).

    Args:
        p: Parameters with the layer `cosines`.
        features: Features, [batch, features].
        taus: Levels, [batch, levels].
        cosines: Cosine features of a level.

    Returns:
        One row for each level, [batch * levels, features].
    """
    waves = torch.arange(cosines, dtype=taus.dtype, device=taus.device) * math.pi
    inputs = (taus.flatten()[:, None] * waves).cos()  # [batch * levels, cosines]
    embedded = layers.dense(p, "cosines", inputs).relu()  # [batch * levels, features]
    return features.repeat_interleave(taus.shape[1], 0) * embedded


def join_levels(outputs: Tensor, levels: int) -> Tensor:
    """Reorder outputs [batch * levels, actions, 1] to [batch, actions, levels]."""
    return outputs.view(-1, levels, outputs.shape[1]).transpose(1, 2)  # [batch, actions, levels]


@dataclass
class Qr(Head):
    """Quantiles at fixed levels (QR-DQN, Dabney et al. 2018a).

    With `pairwise`, the error of a sample is the mean distance between a quantile and an atom of
    the target, as in the code of Clark et al. 2024; else that between their means.
    """

    atoms: Count
    pairwise: bool = field(default=False, kw_only=True)

    @property
    def outputs(self) -> int:
        """One number for each quantile."""
        return self.atoms

    def q(self, z: Tensor) -> Tensor:
        """Return the mean of the quantiles."""
        return z.mean(-1)

    def backup(
        self, reward: Tensor, discount: Tensor, z: Tensor, policy: Tensor, shift: Tensor | None
    ) -> Tensor:
        """Back up each quantile; a stochastic policy mixes the quantiles of the same level.

        Munchausen-IQN mixes them in this way (Vieillard et al. 2020, appendix B.1).
        """
        return backup_atoms(reward, discount, z, policy, shift)

    def sample_error(self, z: Tensor, target: Tensor) -> Tensor:
        """Return the distance of the means, or with `pairwise` that of all pairs, [batch]."""
        if not self.pairwise:
            return super().sample_error(z, target)
        return (target.unsqueeze(1) - z.unsqueeze(2)).abs().mean((1, 2))

    def td_loss(self, z: Tensor, target: Tensor, taus: Tensor) -> Tensor:
        """Return the quantile Huber loss at the midpoints."""
        return quantile_huber(z, target, midpoints(self.atoms, z).expand_as(z))


@dataclass
class Iqn(Qr):
    """Quantiles at any level; the level is an input of the network (IQN, Dabney et al. 2018b).

    An update draws `atoms` levels for each observation by stratified sampling: (0, 1) is cut into
    `atoms` equal intervals, and each gives one level. Action values for acting are computed at the
    midpoints of the intervals.
    """

    cosines: Count

    @property
    def outputs(self) -> int:
        """One number; the network computes it for each level."""
        return 1

    @property
    def samples(self) -> int:
        """One level for each atom."""
        return self.atoms

    def td_loss(self, z: Tensor, target: Tensor, taus: Tensor) -> Tensor:
        """Return the quantile Huber loss at the drawn levels (eq. 3)."""
        return quantile_huber(z, target, taus)

    def taus(self, like: Tensor) -> Tensor:
        """Return the midpoints for each row of `like`, [batch, atoms]."""
        return midpoints(self.atoms, like).expand(like.shape[0], -1)

    def embedding(self, features: int) -> Layout:
        """Return the layout of the layer that maps cosines to features."""
        return layers.linear_layout("cosines", self.cosines, features)

    def expand(self, p: Parameters, features: Tensor) -> Tensor:
        """Multiply features by the embedding of each level, [batch * atoms, features] (eq. 4)."""
        return multiply_by_levels(p, features, p["taus"], self.cosines)

    def fold(self, p: Parameters, z: Tensor) -> Tensor:
        """Reorder outputs [batch * atoms, actions, 1] to z [batch, actions, atoms]."""
        return join_levels(z, p["taus"].shape[1])
