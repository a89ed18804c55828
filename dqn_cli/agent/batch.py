"""Batches: the data that flows from replay to the loss, and the random numbers of one update."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Batch(NamedTuple):
    """Sampled transitions.

    `discount` is gamma^k for the k rewards summed in `reward`, and 0 where the episode terminated.
    The loss therefore needs to know neither gamma nor n nor why an episode ended. Where `reward` is
    a complete return, `discount` is 0 and `next_obs` is [batch, 0]: nothing is bootstrapped.
    """

    obs: Tensor  # [batch, *shape]
    action: Tensor  # [batch], int64
    mask: Tensor  # [batch, actions], bool: legal at obs
    reward: Tensor  # [batch]
    discount: Tensor  # [batch]
    next_obs: Tensor  # [batch, *shape]
    next_mask: Tensor  # [batch, actions], bool: legal at next_obs
    weight: Tensor  # [batch], importance weights; 0 where a row is not a transition
    logged: Tensor  # [batch], bool: read from data, not collected by this run
    starts: Tensor  # [batch], bool: obs is an episode's first one; False where nobody asks

    def repeated(self, times: int) -> Batch:
        """Repeat each row `times` times for a TD target; observations are not repeated."""
        if times == 1:
            return self
        names = ("action", "mask", "reward", "discount", "next_mask")
        values = {name: getattr(self, name).repeat_interleave(times, 0) for name in names}
        return self._replace(**values)


class Sequences(NamedTuple):
    """Sampled sequences for recurrent networks; they run through the ends of episodes.

    The first `time - length - n` observations are burn-in. The next `length` slots are learned
    from, and n more hold the observations that the last of these lead to.
    """

    obs: Tensor  # [batch, time, *shape]
    state: Tensor  # [batch, state], recurrent state before the first observation
    starts: Tensor  # [batch, time], bool: an episode begins here
    action: Tensor  # [batch, length], int64
    mask: Tensor  # [batch, length, actions], bool
    reward: Tensor  # [batch, length], discounted sum of n rewards
    discount: Tensor  # [batch, length]
    ahead: Tensor  # [batch, length], int64: slots between this observation and the next one
    next_mask: Tensor  # [batch, length, actions], bool
    weight: Tensor  # [batch, length], importance weights; 0 where a slot begins no transition
    logged: Tensor  # [batch, length], bool: read from data, not collected by this run


class Following(NamedTuple):
    """Steps that came after sampled transitions, in their order."""

    obs: Tensor  # [batch, steps, *shape], after the first action, the second, ...
    action: Tensor  # [batch, steps], int64: the first is that of the transition
    within: Tensor  # [batch, steps], bool: obs belongs to the same episode


class RandomInputs(NamedTuple):
    """Random numbers of one update; an axis has length 0 where a network or head needs none.

    A population has one more axis [members] in front of each field.
    """

    taus: Tensor  # [2, rows, samples], quantile levels for the online and the target network
    noise: Tensor  # [3, size], standard normal, for noisy layers: online, target, selection
    # [2 or more, rows, numbers], in [0, 1), to augment obs, next_obs and what follows
    augment: Tensor = torch.empty(0)
    mixture: Tensor = torch.empty(0)  # [heads], weights of an ensemble's heads, which sum to 1

    @property
    def online_taus(self) -> Tensor:
        """Quantile levels for the online network, [rows, samples]."""
        return self.taus[0]

    @property
    def target_taus(self) -> Tensor:
        """Quantile levels for the target network, [rows, samples]."""
        return self.taus[1]

    @property
    def online_noise(self) -> Tensor:
        """Noise of the online network at obs, [size]."""
        return self.noise[0]

    @property
    def target_noise(self) -> Tensor:
        """Noise of the target network, [size]."""
        return self.noise[1]

    @property
    def selection_noise(self) -> Tensor:
        """Noise of the online network where it selects next actions, [size]."""
        return self.noise[2]
