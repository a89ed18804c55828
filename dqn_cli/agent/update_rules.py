"""Update rules: the policy over next actions that a TD target is bootstrapped with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from dqn_cli.agent.batch import Batch
from dqn_cli.ranges import NonPositive, Positive, Probability

LazyValues = Callable[[], Tensor]  # action values [batch, actions], computed only if called


class Bootstrap(NamedTuple):
    """Value of the next state: the policy's mean over actions of action value plus shift."""

    policy: Tensor  # [batch, actions], probabilities
    shift: Tensor | None  # [batch, actions]; None for 0


def greedy(q: Tensor, mask: Tensor) -> Tensor:
    """Return the policy [batch, actions] that takes the best legal action of q."""
    best = q.masked_fill(~mask, -float("inf")).argmax(1, keepdim=True)  # [batch, 1]
    # PyTorch's `one_hot` would look at the values first.
    return (best == torch.arange(q.shape[1], device=q.device)).to(q.dtype)


@dataclass
class UpdateRule:
    """Base of all update rules; `rescale` squashes the returns that the network learns."""

    rescale: bool = field(default=False, kw_only=True)

    def bootstrap(self, target_q: Tensor, online_q: LazyValues, mask: Tensor) -> Bootstrap:
        """Choose the policy over next actions.

        Args:
            target_q: The target network's action values at next_obs, [batch, actions].
            online_q: Computes those of the online network.
            mask: Legal actions at next_obs, [batch, actions].
        """
        raise NotImplementedError

    def bonus(self, target_q: LazyValues, batch: Batch) -> Tensor | None:
        """Return what is added to the reward [batch], or None.

        Args:
            target_q: Computes the target network's action values at obs, [batch, actions].
            batch: The transitions.
        """
        return None


@dataclass
class Dqn(UpdateRule):
    """The target network selects and evaluates (Mnih et al. 2015)."""

    def bootstrap(self, target_q: Tensor, online_q: LazyValues, mask: Tensor) -> Bootstrap:
        """Be greedy on the target network."""
        return Bootstrap(greedy(target_q, mask), None)


@dataclass
class Double(UpdateRule):
    """The online network selects, the target network evaluates (van Hasselt et al. 2016, eq. 4)."""

    def bootstrap(self, target_q: Tensor, online_q: LazyValues, mask: Tensor) -> Bootstrap:
        """Be greedy on the online network."""
        return Bootstrap(greedy(online_q(), mask), None)


@dataclass
class Munchausen(UpdateRule):
    """Soft values, and a reward that includes the log-policy (Vieillard et al. 2020, eq. 2).

    The bonus is alpha * max(temperature * log pi(a|s), clip).
    """

    alpha: Probability
    temperature: Positive
    clip: NonPositive

    def bootstrap(self, target_q: Tensor, online_q: LazyValues, mask: Tensor) -> Bootstrap:
        """Take the softmax policy; shift each value by -temperature * log pi."""
        scaled_log_policy = self._scaled_log_policy(target_q, mask)
        policy = (scaled_log_policy / self.temperature).exp() * mask
        return Bootstrap(policy, -scaled_log_policy.masked_fill(~mask, 0))

    def bonus(self, target_q: LazyValues, batch: Batch) -> Tensor | None:
        """Return alpha * max(temperature * log pi, clip) of the action taken."""
        scaled_log_policy = self._scaled_log_policy(target_q(), batch.mask)
        taken = scaled_log_policy.gather(1, batch.action[:, None]).squeeze(1)  # [batch]
        return self.alpha * taken.maximum(taken.new_zeros(()) + self.clip)

    def _scaled_log_policy(self, q: Tensor, mask: Tensor) -> Tensor:
        """Return temperature * log pi [batch, actions], computed stably as in appendix B.1."""
        q = q.masked_fill(~mask, -float("inf"))
        advantage = q - q.amax(1, keepdim=True)
        return advantage - self.temperature * (advantage / self.temperature).logsumexp(
            1, keepdim=True
        )
