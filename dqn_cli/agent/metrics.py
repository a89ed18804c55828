"""Results of an update beside the new parameters: metrics, and errors of each sample."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Metrics(NamedTuple):
    """Means over the batch of one update; each is a scalar, or [members] in a population."""

    loss: Tensor
    q_mean: Tensor  # of the actions taken
    td_error: Tensor  # absolute; see Head.sample_error
    edge_mass: Tensor  # probability at the edges of C51's support
    auxiliary_loss: Tensor  # sum of the auxiliary losses
    bonus: Tensor  # added to rewards by auxiliary parts
    gradient_norm: Tensor  # before clipping; 0 as long as only the loss is known


def mean_over(values: Tensor, counted: Tensor) -> Tensor:
    """Return the mean of values [batch] over the rows that count; `counted` [batch] is 1 or 0."""
    return (values * counted).sum() / counted.sum().clamp(min=1)


class SampleErrors(NamedTuple):
    """Errors of each sample [batch]; replay makes priorities of them."""

    loss: Tensor
    td_error: Tensor  # absolute; see Head.sample_error
