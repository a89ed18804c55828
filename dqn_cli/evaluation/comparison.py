"""Comparisons of choices over seeds: tests of differences, and how many seeds settle one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import ceil, comb, isfinite, sqrt
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.evaluation.statistics import CONFIDENCE, ENOUGH_SEEDS
from dqn_cli.evaluation.student_t import t_quantile, two_sided_p

ERROR_RATE = 0.05  # of equal choices called different, in all comparisons together
POWER = 0.8  # of finding a difference as large as the observed one

Scores = Sequence[Array]  # of one choice: [seeds] for each environment


class Comparison(NamedTuple):
    """Difference between the mean scores of two choices, with its 95 % interval."""

    difference: float
    low: float
    high: float
    p: float  # adjusted by Holm where several choices are compared
    is_enough: bool  # both have enough seeds to tell
    seeds_needed: int | None  # per choice and environment; None if no number would show it

    @property
    def is_different(self) -> bool:
        """True if the data show a difference."""
        return self.is_enough and self.p <= ERROR_RATE


class Ranking(NamedTuple):
    """The choice of the highest mean, and how it compares with each other one, best first."""

    best: str
    comparisons: dict[str, Comparison]


def compare(first: Scores, second: Scores, comparisons: int = 1) -> Comparison:
    """Compare the means of two choices by Welch's test, stratified over environments.

    Choices are not paired by seed: a seed fixes the first weights and episodes, but scores of one
    seed hardly agree between choices, so that pairing would only cost degrees of freedom.

    Args:
        first: Scores of one choice.
        second: Scores of the other, in the same environments.
        comparisons: The number of comparisons that share the error rate, for `seeds_needed`.
    """
    samples = [*first, *second]
    environments = len(first)
    difference = sum(a.mean() - b.mean() for a, b in zip(first, second, strict=True)) / environments
    if min(map(len, samples)) < 2:
        unknown = float("inf")
        return Comparison(float(difference), -unknown, unknown, 1.0, False, None)
    errors = np.array([values.var(ddof=1) / len(values) for values in samples]) / environments**2
    error = sqrt(errors.sum())
    p, half = _least_p(first, second) if difference else 1.0, 0.0
    if error > 1e-9 * max(abs(float(values.mean())) for values in samples):
        # Welch-Satterthwaite, over all environments.
        parts = sum(e**2 / (len(v) - 1) for e, v in zip(errors, samples, strict=True))
        freedom = float(errors.sum() ** 2 / parts)
        p = two_sided_p(float(difference) / error, freedom)
        half = t_quantile(CONFIDENCE, freedom) * error
    return Comparison(
        float(difference),
        float(difference) - half,
        float(difference) + half,
        p,
        min(map(len, samples)) >= ENOUGH_SEEDS,
        _seeds_needed(float(difference), samples, environments, comparisons),
    )


def compare_all(choices: Sequence[Scores]) -> dict[tuple[int, int], Comparison]:
    """Compare each pair of choices; p is adjusted for all pairs (Holm 1979)."""
    pairs = list(combinations(range(len(choices)), 2))
    found = [compare(choices[a], choices[b], len(pairs)) for a, b in pairs]
    adjusted = holm([comparison.p for comparison in found])
    return {
        pair: comparison._replace(p=p)
        for pair, comparison, p in zip(pairs, found, adjusted, strict=True)
    }


def compare_best(choices: Mapping[str, Scores]) -> Ranking | None:
    """Compare the choice of the highest mean with each other one, if two have enough seeds.

    p is adjusted for all pairs, because which choice is the best is seen from the same scores.
    """
    means = {
        label: float(np.mean([values.mean() for values in scores]))
        for label, scores in choices.items()
        if min(map(len, scores)) >= ENOUGH_SEEDS
    }
    if len(means) < 2:
        return None
    best, *others = sorted(means, key=lambda label: -means[label])
    found = compare_all([choices[label] for label in (best, *others)])
    comparisons = {label: found[0, place] for place, label in enumerate(others, start=1)}
    return Ranking(best, comparisons)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted so that all comparisons share one error rate (Holm 1979)."""
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def _least_p(first: Scores, second: Scores) -> float:
    """Return the least p that permuting the choices could give, for scores without spread."""
    ways = 1
    for a, b in zip(first, second, strict=True):
        ways *= comb(len(a) + len(b), len(a))
    return 2 / ways


def _seeds_needed(
    difference: float, samples: Scores, environments: int, comparisons: int
) -> int | None:
    """Return the seeds that show the difference with POWER, if it is as large as it looks."""
    if not difference:
        return None
    normal = NormalDist()
    threshold = normal.inv_cdf(1 - ERROR_RATE / comparisons / 2)
    variance = sum(float(values.var(ddof=1)) for values in samples) / environments**2
    # The last term stands for Student's t in place of the normal distribution.
    needed = (threshold + normal.inv_cdf(POWER)) ** 2 * variance / difference**2 + threshold**2 / 4
    return max(ENOUGH_SEEDS, ceil(needed)) if isfinite(needed) else None
