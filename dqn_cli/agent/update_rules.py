"""Update rules: which policy over the next actions a target is bootstrapped with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from dqn_cli.agent.heads import Loss
from dqn_cli.ranges import NonPositive, Positive, Probability

LazyValues = Callable[[], Tensor]  # action values [batch, actions], computed only if called


class Bootstrap(NamedTuple):
    """How the next actions' values become one: mixed by `policy` after `shift` was added."""

    policy: Tensor  # [batch, actions]
    shift: Tensor | None  # [batch, actions]


def greedy(q: Tensor, mask: Tensor) -> Tensor:
    """The policy [batch, actions] that takes the best legal action of q [batch, actions]."""
    best = q.masked_fill(~mask, -float("inf")).argmax(1)
    return F.one_hot(best, q.shape[1]).to(q.dtype)


@dataclass
class Update:
    """What every update rule has: a loss, a bound on the gradient's norm, a bootstrap."""

    loss: Loss
    max_grad_norm: Positive | None

    def bootstrap(self, target_q: Tensor, online_q: LazyValues, mask: Tensor) -> Bootstrap:
        """From both networks' values of the next observations, and what is legal there."""
        raise NotImplementedError

    def bonus(self, target_q: LazyValues, mask: Tensor, action: Tensor) -> Tensor | None:
        """What is added to the reward [batch], from the target's values at obs."""
        return None


@dataclass
class Dqn(Update):
    """The target network selects and evaluates (Mnih et al. 2015)."""

    def bootstrap(self, target_q: Tensor, online_q: LazyValues, mask: Tensor) -> Bootstrap:
        """Greedy on the target network."""
        return Bootstrap(greedy(target_q, mask), None)


@dataclass
class Double(Update):
    """The online network selects, the target network evaluates (van Hasselt et al. 2016, eq. 4)."""

    def bootstrap(self, target_q: Tensor, online_q: LazyValues, mask: Tensor) -> Bootstrap:
        """Greedy on the online network."""
        return Bootstrap(greedy(online_q(), mask), None)


@dataclass
class Munchausen(Update):
    """Soft values, and the log-policy as part of the reward (Vieillard et al. 2020, eq. 2).

    The log-policy's share is `alpha`; its value, scaled by `temperature`, is at least `clip`.
    """

    alpha: Probability
    temperature: Positive
    clip: NonPositive

    def bootstrap(self, target_q: Tensor, online_q: LazyValues, mask: Tensor) -> Bootstrap:
        """Softmax of the target's values, each shifted by -temperature log pi."""
        scaled_log_policy = self._scaled_log_policy(target_q, mask)
        policy = (scaled_log_policy / self.temperature).exp() * mask
        return Bootstrap(policy, -scaled_log_policy.masked_fill(~mask, 0))

    def bonus(self, target_q: LazyValues, mask: Tensor, action: Tensor) -> Tensor | None:
        """Alpha times the clipped temperature log pi of the action taken."""
        scaled_log_policy = self._scaled_log_policy(target_q(), mask)
        taken = scaled_log_policy.gather(1, action[:, None]).squeeze(1)  # [batch]
        return self.alpha * taken.maximum(taken.new_zeros(()) + self.clip)

    def _scaled_log_policy(self, q: Tensor, mask: Tensor) -> Tensor:
        """Temperature log pi [batch, actions], computed as appendix B.1 does to stay finite."""
        q = q.masked_fill(~mask, -float("inf"))
        advantage = q - q.amax(1, keepdim=True)
        return advantage - self.temperature * (advantage / self.temperature).logsumexp(
            1, keepdim=True
        )
