"""Fully parameterized quantiles (FQF): the levels of quantiles are learned beside their values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from dqn_cli.agent import layers
from dqn_cli.agent.heads import Function, Head, Layers, mix_actions
from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.parameters import Layout
from dqn_cli.agent.quantiles import join_levels, multiply_by_levels, quantile_huber
from dqn_cli.ranges import Count, NonNegative, Several


def fractions(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return fractions tau_1 to tau_N, and midpoints of the intervals that they end, [..., N]."""
    widths = logits.softmax(-1)
    ends = widths.cumsum(-1)
    return ends, ends - widths / 2


def fraction_slope(values: Tensor, edges: Tensor) -> Tensor:
    """Return the derivative of the 1-Wasserstein error, [batch, N - 1] (Yang et al. 2019, eq. 5).

    Args:
        values: Quantiles at the midpoints, [batch, N].
        edges: Quantiles at the fractions tau_1 to tau_(N - 1), [batch, N - 1].
    """
    return 2 * edges - values[:, 1:] - values[:, :-1]


@dataclass
class Fqf(Head):
    """Quantiles at levels that are learned for each observation (FQF, Yang et al. 2019).

    A softmax layer on the features cuts (0, 1) into `atoms` intervals. The values are quantiles at
    their midpoints, as in IQN, and count by the widths. The intervals follow the 1-Wasserstein
    distance between the quantile function and its staircase.

    z holds the logits of the widths, the quantiles and, where gradients are wanted, the quantiles
    at the fractions between the intervals. A TD target holds widths and returns.
    """

    atoms: Several
    cosines: Count
    fraction_lr: NonNegative
    entropy: NonNegative

    @property
    def outputs(self) -> int:
        """One number; the network computes it for each level."""
        return 1

    def q(self, z: Tensor) -> Tensor:
        """Return the mean of the staircase; it does not move the fractions."""
        widths = z[..., : self.atoms].detach().softmax(-1)
        return (widths * z[..., self.atoms : 2 * self.atoms]).sum(-1)

    def mean(self, target: Tensor) -> Tensor:
        """Return the mean of the returns, by their widths."""
        return (target[:, : self.atoms] * target[:, self.atoms :]).sum(1)

    def backup(
        self, reward: Tensor, discount: Tensor, z: Tensor, policy: Tensor, shift: Tensor | None
    ) -> Tensor:
        """Back up each quantile; the levels of all actions are the same, so a policy mixes them."""
        # All actions have the same logits. Zeros, which stand for no next value, are equal widths.
        widths = z[:, 0, : self.atoms].softmax(1)  # [batch, atoms]
        values = z[..., self.atoms : 2 * self.atoms]
        mixed = mix_actions(values, policy, shift)  # [batch, atoms]
        return torch.cat([widths, reward[:, None] + discount[:, None] * mixed], 1)

    def td_loss(self, z: Tensor, target: Tensor, taus: Tensor) -> Tensor:
        """Return the quantile Huber loss, whose gradient also has that of the fractions."""
        logits, values, edges = z.tensor_split([self.atoms, 2 * self.atoms], 1)
        weights, returns = target.tensor_split([self.atoms], 1)
        _, midpoints = fractions(logits.detach())
        loss = quantile_huber(values, returns, midpoints, weights)  # [batch]
        if not edges.shape[1]:  # there is no gradient
            return loss
        moving = self._fraction_loss(logits, values.detach(), edges.detach())
        return loss + (moving - moving.detach())

    def _fraction_loss(self, logits: Tensor, values: Tensor, edges: Tensor) -> Tensor:
        """Return a number [batch] with the gradient of the 1-Wasserstein error, less the bonus."""
        ends, _ = fractions(logits)
        distance = (fraction_slope(values, edges) * ends[:, :-1]).sum(1)
        log_widths = logits.log_softmax(1)
        return distance + self.entropy * (log_widths.exp() * log_widths).sum(1)

    def embedding(self, features: int) -> Layout:
        """Return the layouts of the layer that proposes fractions, and of that of cosines."""
        proposal = layers.linear_layout("fractions", features, self.atoms)
        return proposal | layers.linear_layout("cosines", self.cosines, features)

    def compute_z(self, p: Parameters, features: Tensor, last_layers: Layers) -> Tensor:
        """Propose fractions, and compute quantiles at their midpoints and at the fractions."""
        proposed = layers.dense(p, "fractions", features.detach())  # [batch, atoms]
        # The value is scaled and the gradient is not. So this factor is one of the layer's steps,
        # even where an optimizer divides gradients by their size.
        logits = proposed + (self.fraction_lr * proposed - proposed).detach()
        ends, midpoints = fractions(logits.detach())

        def quantiles(levels: Tensor) -> Tensor:
            rows = multiply_by_levels(p, features, levels, self.cosines)
            return join_levels(last_layers(rows), levels.shape[1])  # [batch, actions, levels]

        parts: list[Tensor] = []
        if torch.is_grad_enabled():  # only the gradient of the fractions needs them
            with torch.no_grad():
                parts = [quantiles(ends[:, :-1])]
        values = quantiles(midpoints)
        of_actions = logits.unsqueeze(1).expand_as(values)
        return torch.cat([of_actions, values, *parts], 2)  # [batch, actions, 3 atoms - 1 or less]

    def on_returns(self, function: Function, values: Tensor) -> Tensor:
        """Return z, or a TD target, with a function of all but the logits or widths."""
        levels, returns = values.tensor_split([self.atoms], -1)
        return torch.cat([levels, function(returns)], -1)
