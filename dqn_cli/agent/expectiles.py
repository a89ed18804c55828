"""Expectile head: the distribution of returns by its expectiles, of which the mean is one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dqn_cli.agent.heads import Head, mix_actions
from dqn_cli.agent.quantiles import midpoints
from dqn_cli.ranges import Several

LEAST = 1e-3  # probability of an outermost sample at least, which bounds how far out it is


def expectile_loss(z: Tensor, target: Tensor, taus: Tensor, weights: Tensor) -> Tensor:
    """Return the expectile loss, summed over the levels, [batch] (Rowland et al. 2019).

    Args:
        z: Expectiles, [batch, n].
        target: Samples of the TD target, [batch, m].
        taus: Levels of the expectiles, [n].
        weights: Probabilities of the samples, [batch, m].
    """
    value_of_z = z.detach()
    error = target.unsqueeze(1) - value_of_z.unsqueeze(2)  # [batch, n, m]
    levels = taus[:, None]
    weighted = torch.where(error < 0, 1 - levels, levels) * weights.unsqueeze(1) * error
    value, slope = (weighted * error).sum(2), 2 * weighted.sum(2)  # [batch, n]
    # Linear in z, with the loss's own slope, as the quantile Huber loss.
    return (value - slope * (z - value_of_z)).sum(1)  # [batch]


def impute(expectiles: Tensor) -> tuple[Tensor, Tensor]:
    """Return a distribution that has these expectiles: probabilities and samples, [batch, n] each.

    For returns Z of mean m, let T(x) = E max(Z - m - x, 0). The expectile at tau > 1/2 is m + x
    with T(x) = x (1 - tau) / (2 tau - 1), and those below 1/2 are the same of -Z. So expectiles are
    points of two convex functions. Straight lines between points are such functions too, those of
    a distribution with samples at the points; a slope is minus the probability further out.

    Predictions may be expectiles of no distribution. Then the order of expectiles and that of
    probabilities are enforced, and the mean stays.

    Args:
        expectiles: At the midpoints of n equal parts of (0, 1), [batch, n]; n is odd, at least 5.
    """
    count = expectiles.shape[1] // 2
    mean = expectiles[:, count]  # [batch]
    offset = expectiles - mean[:, None]
    # Above and below the mean, from the inside to the outside.
    sides = torch.stack([offset[:, count + 1 :], -offset[:, :count].flip(1)])  # [2, batch, count]
    x = sides.clamp(min=0).cummax(2).values
    taus = midpoints(expectiles.shape[1], expectiles)[count + 1 :]
    ratio = (1 - taus) / (2 * taus - 1)  # [count]
    t = ratio * x
    beyond = _divided(t[..., :-1] - t[..., 1:], x[..., 1:] - x[..., :-1])  # [2, batch, count - 1]
    beyond = beyond.clamp(LEAST, 1).cummin(2).values
    # T(0) is common to both sides. Between the nearest points it is bounded by convexity, and by
    # the two probabilities, which are 1 together at most.
    first, next_beyond = x[..., 0], beyond[..., 0]  # [2, batch]
    least = (t[..., 0] + next_beyond * first).amax(0)
    most = (1 + 2 * ratio[0]) * _divided(first[0] * first[1], first[0] + first[1])
    own = _divided((least + most) / 2 - t[..., 0], first).maximum(next_beyond).clamp(max=1)
    own = own / own.sum(0).clamp(min=1)
    beyond = torch.cat([own[..., None], beyond.minimum(own[..., None])], 2)  # [2, batch, count]
    mass = beyond - F.pad(beyond[..., 1:], (0, 1))
    # The last line goes on to where T is 0.
    last = x[..., -1:] + _divided(t[..., -1:], beyond[..., -1:])
    place = torch.cat([x[..., :-1], last], 2)  # [2, batch, count]
    rest = 1 - own.sum(0)[:, None]  # at the mean
    weights = torch.cat([mass[1].flip(1), rest, mass[0]], 1)
    samples = torch.cat([-place[1].flip(1), torch.zeros_like(rest), place[0]], 1)
    return weights, samples + (mean - (weights * samples).sum(1))[:, None]


def _divided(numerator: Tensor, denominator: Tensor) -> Tensor:
    """Return the quotient of a denominator that is not negative; 0 / 0 is 0."""
    return numerator / denominator.clamp(min=torch.finfo(denominator.dtype).tiny)


@dataclass
class Expectile(Head):
    """Expectiles at the midpoints of `atoms` equal parts of (0, 1) (ER-DQN, Rowland et al. 2019).

    The middle one is the mean, which so is learned as by a scalar head with the squared loss.
    Expectiles are not samples: a TD target made of them would have ever less spread. So the target
    is a distribution that has the next expectiles; it holds probabilities and returns.
    """

    atoms: Several

    @property
    def outputs(self) -> int:
        """One number for each expectile."""
        return self.atoms

    def q(self, z: Tensor) -> Tensor:
        """Return the expectile at 1/2, which is the mean."""
        return z[..., self.atoms // 2]

    def mean(self, target: Tensor) -> Tensor:
        """Return the mean of the returns, by their probabilities."""
        return (target[:, : self.atoms] * target[:, self.atoms :]).sum(1)

    def backup(
        self, reward: Tensor, discount: Tensor, z: Tensor, policy: Tensor, shift: Tensor | None
    ) -> Tensor:
        """Back up the imputed returns; a policy mixes expectiles of the same level."""
        weights, samples = impute(mix_actions(z, policy, shift))
        return torch.cat([weights, reward[:, None] + discount[:, None] * samples], 1)

    def td_loss(self, z: Tensor, target: Tensor, taus: Tensor) -> Tensor:
        """Return the expectile loss at the midpoints."""
        weights, returns = target.tensor_split([self.atoms], 1)
        return expectile_loss(z, returns, midpoints(self.atoms, z), weights)
