"""Figures that say how sure they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dqn_cli.arrays import Array

RESAMPLES = 5_000


class Summary(NamedTuple):
    """What a sample of returns says."""

    mean: float
    std: float
    iqm: float
    mean_ci95: tuple[float, float]
    iqm_ci95: tuple[float, float]
    min: float
    max: float


def interquartile_mean(values: Array) -> Array:
    """Mean of the middle half along the last axis (Agarwal et al. 2021, section 4.3).

    Values that the quartiles cut through count with the share that lies inside.
    """
    n = values.shape[-1]
    cut = n / 4
    # Value i covers [i, i + 1] of the sorted sample; its share is what lies between the quartiles.
    edges = np.clip(np.arange(n + 1), cut, n - cut)
    share = np.diff(edges) / (n - 2 * cut)
    return np.asarray((np.sort(values, axis=-1) * share).sum(-1))


def bootstrap_interval(
    values: ArrayLike, statistic: Callable[[Array], Array]
) -> tuple[float, float]:
    """95 % percentile bootstrap interval of a statistic over the last axis (Efron 1979)."""
    sample = np.asarray(values, float)
    # The same draws each time: a figure computed twice is the same figure.
    draws = np.random.default_rng(0).integers(sample.size, size=(RESAMPLES, sample.size))
    low, high = np.percentile(statistic(sample[draws]), [2.5, 97.5])
    return float(low), float(high)


def summarize(returns: ArrayLike) -> Summary:
    """Mean, deviation, interquartile mean and their intervals."""
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
