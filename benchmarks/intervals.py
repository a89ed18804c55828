"""Simulate experiments, and print the tables of docs/statistics.md.

python benchmarks/intervals.py [coverage=4000] [tests=1000]

Intervals: how often 95 % intervals over seeds contain the true mean and interquartile mean.
Tests: how often two choices are called different, equal ones and ones that differ.
"Before" is the percentile bootstrap, and intervals that do not overlap. The numbers are those of
simulated experiments.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from math import log
from typing import NamedTuple

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.evaluation.comparison import compare
from dqn_cli.evaluation.statistics import (
    RESAMPLES,
    interquartile_mean,
    iqm_interval,
    mean_interval,
)

SEEDS = (3, 5, 10, 30)
DIFFERENCES = (0.0, 1.0, 1.5)  # in standard deviations


class Kind(NamedTuple):
    """A distribution of scores."""

    name: str
    draw: Callable[[np.random.Generator, tuple[int, ...]], Array]
    mean: float
    iqm: float
    std: float


EXPONENTIAL_IQM = 2 * ((0.25 * log(0.25) + 0.75) - (0.75 * log(0.75) + 0.25))
BETA_IQM = 2 * 5 / 6 * (0.75**1.2 - 0.25**1.2)
KINDS = (
    Kind("normal", lambda random, size: random.normal(size=size), 0, 0, 1),
    Kind("skewed: exponential", lambda random, size: random.exponential(size=size), 1,
         EXPONENTIAL_IQM, 1),
    Kind("heavy-tailed: t, 3 degrees", lambda random, size: random.standard_t(3, size=size), 0, 0,
         3**0.5),
    Kind("bounded: beta(5, 1)", lambda random, size: random.random(size) ** 0.2, 5 / 6, BETA_IQM,
         (5 / 252) ** 0.5),
    Kind("two points, equally likely", lambda random, size: random.integers(2, size=size) * 1.0,
         0.5, 0.5, 0.5),
)  # fmt: skip


class Coverage(NamedTuple):
    """Shares of experiments whose interval contains the truth."""

    mean_before: float
    mean: float
    iqm_before: float
    iqm: float


class Rates(NamedTuple):
    """Shares of experiments that call two choices different."""

    before: float
    after: float


def main() -> None:
    words = dict(word.split("=") for word in sys.argv[1:])
    experiments, pairs = int(words.get("coverage", 4_000)), int(words.get("tests", 1_000))
    print("| scores | seeds | mean, before | mean | IQM, before | IQM |")
    print("| --- | --- | --- | --- | --- | --- |")
    for kind in KINDS:
        for seeds in SEEDS:
            cells = (f"{100 * share:.1f}" for share in coverage(kind, seeds, experiments))
            print(f"| {kind.name} | {seeds} | {' | '.join(cells)} |", flush=True)
    print()
    heads = [f"{d:g} sd, {when}" for d in DIFFERENCES for when in ("before", "test")]
    print(f"| scores | seeds | {' | '.join(heads)} |")
    print(f"| --- | --- |{' --- |' * len(heads)}")
    for kind in KINDS:
        for seeds in SEEDS:
            found = [difference_rates(kind, seeds, d, pairs) for d in DIFFERENCES]
            cells = (f"{100 * share:.1f}" for rates in found for share in rates)
            print(f"| {kind.name} | {seeds} | {' | '.join(cells)} |", flush=True)


def coverage(kind: Kind, seeds: int, experiments: int) -> Coverage:
    """Return how often intervals of this many seeds contain the truth."""
    scores = kind.draw(np.random.default_rng(seeds), (experiments, seeds))
    before = np.array([percentile_intervals(sample) for sample in scores])  # [..., statistic, 2]
    iqms = np.array([iqm_interval(sample) for sample in scores])
    return Coverage(
        _share(*before[:, 0].T, kind.mean),
        _share(*mean_interval(scores), kind.mean),
        _share(*before[:, 1].T, kind.iqm),
        _share(*iqms.T, kind.iqm),
    )


def difference_rates(kind: Kind, seeds: int, difference: float, experiments: int) -> Rates:
    """Return how often choices that differ by standard deviations are called different."""
    pairs = kind.draw(np.random.default_rng(seeds), (experiments, 2, seeds))
    pairs[:, 1] += difference * kind.std
    disjoint, different = 0, 0
    for first, second in pairs:
        (low, high), (lowest, highest) = (percentile_intervals(x)[1] for x in (first, second))
        disjoint += high < lowest or highest < low
        different += compare([first], [second]).is_different
    return Rates(disjoint / experiments, different / experiments)


def percentile_intervals(sample: Array) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return the 95 % percentile bootstrap intervals of the mean and interquartile mean."""
    indices = np.random.default_rng(0).integers(sample.size, size=(RESAMPLES, sample.size))
    resampled = np.sort(sample[indices], axis=-1)
    mean, iqm = (
        np.percentile(values, [2.5, 97.5])
        for values in (resampled.mean(-1), interquartile_mean(resampled))
    )
    return (float(mean[0]), float(mean[1])), (float(iqm[0]), float(iqm[1]))


def _share(low: Array, high: Array, truth: float) -> float:
    return float(np.mean((low - 1e-9 <= truth) & (truth <= high + 1e-9)))


if __name__ == "__main__":
    main()
