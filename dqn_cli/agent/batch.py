"""A batch: what flows from replay to the loss."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Batch(NamedTuple):
    """Sampled transitions.

    `discount` is gamma^k for the k rewards summed in `reward`, and 0 where the episode terminated:
    the loss needs to know neither gamma nor n nor why an episode ended.
    """

    obs: Tensor  # [batch, *shape]
    action: Tensor  # [batch], int64
    mask: Tensor  # [batch, actions], bool: legal at obs
    reward: Tensor  # [batch]
    discount: Tensor  # [batch]
    next_obs: Tensor  # [batch, *shape]
    next_mask: Tensor  # [batch, actions], bool: legal at next_obs
    weight: Tensor  # [batch], importance weights
