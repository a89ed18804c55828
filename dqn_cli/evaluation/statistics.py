"""Summaries of returns with confidence intervals."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dqn_cli.arrays import Array

RESAMPLES = 5_000


class Summary(NamedTuple):
    """Statistics of a sample of returns."""

    mean: float
    std: float
    iqm: float
    mean_ci95: tuple[float, float]
    iqm_ci95: tuple[float, float]
    min: float
    max: float


def interquartile_mean(values: Array) -> Array:
    """Return the mean of the middle half along the last axis (Agarwal et al. 2021, section 4.3).

    A value that a quartile cuts through counts in proportion to its part between the quartiles.
    """
    n = values.shape[-1]
    cut = n / 4
    # Value i of the sorted sample covers [i, i + 1]; its share is the part between the quartiles.
    edges = np.clip(np.arange(n + 1), cut, n - cut)
    share = np.diff(edges) / (n - 2 * cut)
    return np.asarray((np.sort(values, axis=-1) * share).sum(-1))


def bootstrap_interval(
    values: ArrayLike, statistic: Callable[[Array], Array]
) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a statistic (Efron 1979).

    Args:
        values: The sample [n].
        statistic: A function of samples [..., n] over their last axis.
    """
    sample = np.asarray(values, float)
    # A fixed seed makes the interval of a sample reproducible.
    indices = np.random.default_rng(0).integers(sample.size, size=(RESAMPLES, sample.size))
    low, high = np.percentile(statistic(sample[indices]), [2.5, 97.5])
    return float(low), float(high)


def summarize(returns: ArrayLike) -> Summary:
    """Return the statistics of a sample of returns [n]."""
    values = np.asarray(returns, float)
    return Summary(
        mean=float(values.mean()),
        std=float(values.std()),
        iqm=float(interquartile_mean(values)),
        mean_ci95=bootstrap_interval(values, lambda sample: sample.mean(-1)),
        iqm_ci95=bootstrap_interval(values, interquartile_mean),
        min=float(values.min()),
        max=float(values.max()),
    )
