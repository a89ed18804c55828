"""Pruning by pauses: at each rung the best trials go on (Li et al. 2020, asynchronous halving)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence


def rung_steps(
    fractions: Iterable[float], steps: int, every: int, learning_starts: int
) -> list[int]:
    """Return the steps at which trials pause: fractions of a run, at evaluations.

    Args:
        fractions: Above 0 and below 1.
        steps: Steps of a run.
        every: Steps between two evaluations.
        learning_starts: Step before which nothing is learned that could be compared.
    """
    rungs = {max(round(fraction * steps / every), 1) * every for fraction in fractions}
    return sorted(rung for rung in rungs if learning_starts < rung < steps)


def survivors(numbers: Sequence[int], scores: Mapping[int, float], reduction: float) -> list[int]:
    """Return the trials that go on: those among the best 1 / `reduction` of all at this rung.

    Args:
        numbers: Trials that are compared now.
        scores: Of these and of all earlier trials at this rung, by number.
        reduction: Above 1.
    """
    kept = math.ceil(len(scores) / reduction)
    # Of equals, the earlier one is better.
    ranking = sorted(scores, key=lambda number: (-scores[number], number))
    best = set(ranking[:kept])
    return [number for number in numbers if number in best]
