"""Documented scores of shipped settings, and whether fresh ones are as good."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from math import comb
from pathlib import Path
from typing import NamedTuple

import numpy as np

FILE = Path(__file__).with_name("documented.csv")
FALSE_ALARMS = 0.01  # chance that equal settings are called worse
EPISODES = 100  # new greedy episodes of the best checkpoint, of which the mean is a score
EVALUATION_SEED = 12345  # of these episodes


class Documented(NamedTuple):
    """Settings by the words that choose them, and the scores that they reached."""

    words: list[str]
    scores: list[float]  # of each seed
    commit: str


def documented_scores() -> dict[str, Documented]:
    """Return all documented settings by name, such as `CartPole-v1/dqn`."""
    found: dict[str, Documented] = {}
    with FILE.open(newline="") as rows:
        for row in csv.DictReader(rows):
            new = Documented(row["words"].split(), [], row["commit"])
            found.setdefault(row["name"], new).scores.append(float(row["best"]))
    return found


def chance_as_low(fresh: Sequence[float], documented: Sequence[float]) -> float:
    """Return the chance of fresh scores that rank as low, if both are from the same distribution.

    This is the exact one-sided Wilcoxon rank-sum test with mean ranks for ties (Lehmann 1975,
    section 1.4), conditional on the ties.
    """
    ranks = _doubled_ranks([*fresh, *documented])
    count, reached = len(fresh), sum(ranks[: len(fresh)])
    # ways[k][s]: in how many ways k of the ranks seen so far have the sum s.
    ways: list[dict[int, int]] = [{0: 1}, *({} for _ in fresh)]
    for rank in ranks:
        for size in range(count, 0, -1):
            for total, number in ways[size - 1].items():
                ways[size][total + rank] = ways[size].get(total + rank, 0) + number
    as_low = sum(number for total, number in ways[count].items() if total <= reached)
    return as_low / comb(len(ranks), count)


def fewest_seeds(documented: int) -> int:
    """Return how many fresh seeds can be called worse at all, beside so many documented ones."""
    return next(n for n in range(1, 1000) if comb(documented + n, n) * FALSE_ALARMS >= 1)


def _doubled_ranks(scores: Sequence[float]) -> list[int]:
    """Return twice the rank of each score; equal scores share their mean rank."""
    values = np.asarray(scores)
    below = (values[None] < values[:, None]).sum(1)  # [scores]
    equal = (values[None] == values[:, None]).sum(1)  # [scores], itself included
    doubled: list[int] = (2 * below + equal + 1).tolist()
    return doubled
