"""Batches: what flows from replay to the loss, and the random numbers it takes."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """Sampled transitions.

    `discount` is gamma^k for the k rewards summed in `reward`, and 0 where the episode terminated:
    the loss needs to know neither gamma nor n nor why an episode ended. Where `reward` is the whole
    return, `discount` is 0 and `next_obs` is [batch, 0]: there is nothing to look ahead to.
    """

    obs: Tensor  # [batch, *shape]
    action: Tensor  # [batch], int64
    mask: Tensor  # [batch, actions], bool: legal at obs
    reward: Tensor  # [batch]
    discount: Tensor  # [batch]
    next_obs: Tensor  # [batch, *shape]
    next_mask: Tensor  # [batch, actions], bool: legal at next_obs
    weight: Tensor  # [batch], importance weights; 0 where a row is no transition


class Sequences(NamedTuple):
    """Sampled stretches of time for recurrent networks, through the ends of episodes.

    The first `time - length - n` observations are burn-in, then `length` slots are learned from,
    and n more hold the observations that the last of these lead to.
    """

    obs: Tensor  # [batch, time, *shape]
    state: Tensor  # [batch, state], the network's before the first observation
    starts: Tensor  # [batch, time], bool: an episode begins here
    action: Tensor  # [batch, length], int64
    mask: Tensor  # [batch, length, actions], bool
    reward: Tensor  # [batch, length], discounted sum of n rewards
    discount: Tensor  # [batch, length]
    ahead: Tensor  # [batch, length], int64: how many slots later the next observation is
    next_mask: Tensor  # [batch, length, actions], bool
    weight: Tensor  # [batch, length], importance weights; 0 where a slot begins no transition


class Draws(NamedTuple):
    """Random numbers of one update; an axis has length 0 where a network or head needs none."""

    taus: Tensor  # [rows, samples], quantile levels for the online network
    next_taus: Tensor  # [rows, samples], ... for the target network
    noise: Tensor  # [size], standard normal, for the noisy layers of the online network
    target_noise: Tensor  # [size], ... of the target network
    selection_noise: Tensor  # [size], ... of the online network where it selects next actions
