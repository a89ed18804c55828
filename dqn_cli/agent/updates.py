"""Update rules: which policy over the next actions a target is bootstrapped with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from dqn_cli.agent.heads import Loss
from dqn_cli.ranges import Positive


def greedy(q: Tensor, mask: Tensor) -> Tensor:
    """The policy [batch, actions] that takes the best legal action of q [batch, actions]."""
    best = q.masked_fill(~mask, -float("inf")).argmax(1)
    return F.one_hot(best, q.shape[1]).to(q.dtype)


@dataclass
class Update:
    """What every update rule has: a loss, a bound on the gradient's norm, a bootstrap policy."""

    loss: Loss
    max_grad_norm: Positive | None

    def policy(self, target_q: Tensor, online_q: Callable[[], Tensor], mask: Tensor) -> Tensor:
        """Policy over the next actions, [batch, actions]; `online_q` is computed only if called."""
        raise NotImplementedError


@dataclass
class Dqn(Update):
    """The target network selects and evaluates (Mnih et al. 2015)."""

    def policy(self, target_q: Tensor, online_q: Callable[[], Tensor], mask: Tensor) -> Tensor:
        """Greedy on the target network."""
        return greedy(target_q, mask)


@dataclass
class Double(Update):
    """The online network selects, the target network evaluates (van Hasselt et al. 2016, eq. 4)."""

    def policy(self, target_q: Tensor, online_q: Callable[[], Tensor], mask: Tensor) -> Tensor:
        """Greedy on the online network."""
        return greedy(online_q(), mask)
