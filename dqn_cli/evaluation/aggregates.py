"""Scores of several environments together (Agarwal et al. 2021)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.evaluation.atari_scores import human_normalised_score
from dqn_cli.evaluation.comparison import Scores
from dqn_cli.evaluation.statistics import (
    RESAMPLES,
    expanded_percentiles,
)


def normalise(envs: Sequence[str], choices: Sequence[Scores]) -> tuple[list[list[Array]], str]:
    """Return scores that can be averaged over environments, and the words for them.

    Atari scores are relative to random play and a human tester if all environments have such
    references. Otherwise 0 is the lowest score of an environment, and 1 the highest.

    Args:
        envs: Ids of environments.
        choices: For each choice, scores [seeds] in each environment.
    """
    if all(human_normalised_score(env, 0.0) is not None for env in envs):
        human = [
            [np.array([human_normalised_score(env, score) for score in scores], float)
             for env, scores in zip(envs, choice, strict=True)]
            for choice in choices
        ]  # fmt: skip
        return human, "human-normalised score"
    columns = [np.concatenate(column) for column in zip(*choices, strict=True)]
    bounds = [(float(column.min()), float(column.max())) for column in columns]
    scaled = [
        [(v - low) / ((high - low) or 1.0) for v, (low, high) in zip(scores, bounds, strict=True)]
        for scores in choices
    ]
    return scaled, "score between the lowest (0) and the highest (1) of each environment"


def performance_profile(scores: Scores, levels: Array) -> Array:
    """Return the share of runs that score more than each level, over all environments."""
    return np.asarray((np.concatenate(scores)[:, None] > levels).mean(0))


def profile_band(scores: Scores, levels: Array) -> tuple[Array, Array]:
    """Return 95 % bounds of the performance profile at each level, by a stratified bootstrap."""
    random = np.random.default_rng(0)
    shares = np.zeros((RESAMPLES, len(levels)))
    for values in scores:
        above = (values[:, None] > levels).sum(0)
        # How many of n resampled runs score more is binomial.
        shares += random.binomial(len(values), above / len(values), size=shares.shape)
    shares /= sum(map(len, scores))
    percentiles = expanded_percentiles(sum(map(len, scores)), len(scores))
    low, high = np.percentile(shares, percentiles, axis=0)
    return low, high


def improvement(first: Scores, second: Scores) -> float:
    """Return the probability that a run of the first choice scores more than one of the second.

    A tie counts as a half, and environments count alike.
    """
    return float(np.mean([_wins(a, b).mean() for a, b in zip(first, second, strict=True)]))


def improvement_interval(first: Scores, second: Scores) -> tuple[float, float]:
    """Return the 95 % interval of `improvement`, by a stratified bootstrap."""
    random = np.random.default_rng(0)
    total = np.zeros(RESAMPLES)
    for a, b in zip(first, second, strict=True):
        # Resampling runs is counting how often each is drawn.
        draws_a = random.multinomial(len(a), [1 / len(a)] * len(a), size=RESAMPLES)
        draws_b = random.multinomial(len(b), [1 / len(b)] * len(b), size=RESAMPLES)
        total += np.einsum("ri,ij,rj->r", draws_a, _wins(a, b), draws_b) / (len(a) * len(b))
    percentiles = expanded_percentiles(sum(map(len, (*first, *second))), 2 * len(first))
    low, high = np.percentile(total / len(first), percentiles)
    return float(low), float(high)


def _wins(first: Array, second: Array) -> Array:
    difference = first[:, None] - second
    return np.asarray((np.sign(difference) + 1) / 2)
