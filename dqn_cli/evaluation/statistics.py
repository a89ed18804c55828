"""Summaries of scores with 95 % intervals that hold from five scores on.

docs/statistics.md has their coverage, measured by benchmarks/intervals.py.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from dqn_cli.arrays import Array
from dqn_cli.evaluation.student_t import t_quantile

RESAMPLES = 5_000
CONFIDENCE = 0.95
ENOUGH_SEEDS = 5  # fewer can't tell: their range alone misses the median in 1 of 8 experiments


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

    A quarter of the values, rounded down, is left out at each end, as by `scipy.stats.trim_mean`
    and rliable: of 3 values none, of 5 to 7 one, of 10 two.
    """
    n = values.shape[-1]
    cut = n // 4
    return np.asarray(np.sort(values, axis=-1)[..., cut : n - cut].mean(-1))


def mean_interval(values: Array) -> tuple[Array, Array]:
    """Return the bounds of the 95 % interval of the mean along the last axis.

    It spans Student's interval and its correction for skewness (Willink 2005): the first misses
    the mean of skewed scores, the second that of heavy-tailed ones. One value is its own interval.
    """
    n = values.shape[-1]
    mean = values.mean(-1)
    if n == 1:
        return mean, mean
    t, error = t_quantile(CONFIDENCE, n - 1), values.std(-1, ddof=1) / sqrt(n)
    low, high = mean - t * error, mean + t * error
    if n == 2:
        return low, high
    skew = _skewness(values) / (6 * sqrt(n))
    above, below = (_inverse(sign * t, skew) * error for sign in (1, -1))
    return np.minimum(low, mean - above), np.maximum(high, mean - below)


def bootstrap_interval(
    values: ArrayLike, statistic: Callable[[Array], Array], strata: ArrayLike | None = None
) -> tuple[float, float]:
    """Return the 95 % expanded percentile bootstrap interval (Efron 1979; Hesterberg 2015).

    The percentiles lie farther out than 2.5 and 97.5, as Student's t lies outside the normal
    distribution: plain percentiles are too narrow for small samples. Suited to the interquartile
    mean; `mean_interval` is better for the mean.

    Args:
        values: The sample [n].
        statistic: A function of samples [..., n] over their last axis.
        strata: What each value belongs to [n], as its environment; each is resampled by itself.
    """
    sample = np.asarray(values, float)
    labels = np.zeros(sample.size) if strata is None else np.asarray(strata)
    random = np.random.default_rng(0)  # fixed, which makes the interval of a sample reproducible
    groups = [sample[labels == label] for label in np.unique(labels)]
    freedom = sample.size - len(groups)
    if not freedom:
        return float(statistic(sample)), float(statistic(sample))
    drawn = [group[random.integers(group.size, size=(RESAMPLES, group.size))] for group in groups]
    resampled = statistic(np.concatenate(drawn, axis=-1))
    low, high = np.percentile(resampled, expanded_percentiles(sample.size, len(groups)))
    return float(low), float(high)


def expanded_percentiles(size: int, strata: int) -> list[float]:
    """Return the percentiles of a bootstrap that bound 95 % (Hesterberg 2015, section 5.1.1)."""
    freedom = max(1, size - strata)
    tail = NormalDist().cdf(-sqrt(size / freedom) * t_quantile(CONFIDENCE, freedom))
    return [100 * tail, 100 * (1 - tail)]


def iqm_interval(values: ArrayLike, strata: ArrayLike | None = None) -> tuple[float, float]:
    """Return the 95 % interval of the interquartile mean of a sample [n]."""
    return bootstrap_interval(values, interquartile_mean, strata)


def summarize(returns: ArrayLike) -> Summary:
    """Return the statistics of a sample of returns [n]."""
    values = np.asarray(returns, float)
    low, high = mean_interval(values)
    return Summary(
        mean=float(values.mean()),
        std=float(values.std()),
        iqm=float(interquartile_mean(values)),
        mean_ci95=(float(low), float(high)),
        iqm_ci95=iqm_interval(values),
        min=float(values.min()),
        max=float(values.max()),
    )


def _skewness(values: Array) -> Array:
    """Return the third moment over the cubed standard deviation; 0 of equal values."""
    n = values.shape[-1]
    deviation = values - values.mean(-1, keepdims=True)
    std = deviation.std(-1, ddof=1)
    third = n * (deviation**3).sum(-1) / ((n - 1) * (n - 2))
    return np.asarray(np.divide(third, std**3, out=np.zeros_like(third), where=std > 0))


def _inverse(t: float, skew: Array) -> Array:
    """Return the value that Willink's transform of a skewed t-statistic takes to `t`."""
    safe = np.where(np.abs(skew) < 1e-6, 1.0, skew)
    root = (np.cbrt(1 + 6 * safe * (t - safe)) - 1) / (2 * safe)
    return np.asarray(np.where(np.abs(skew) < 1e-6, t, root))
