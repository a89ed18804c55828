"""Learning curves of choices, and what it takes to reach a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.evaluation.curves import Curve
from dqn_cli.evaluation.statistics import ENOUGH_SEEDS, interquartile_mean, iqm_interval
from dqn_cli.reporting.run_rows import REPEATED, RunRow

POINTS = 50  # of a band; more would not be seen
LEARNED = 0.9  # of the way from the first to the highest point, where an environment has no goal


class IqmBand(NamedTuple):
    """Interquartile mean of one choice's curves, with its 95 % interval; arrays are [points].

    The interval of fewer curves than ENOUGH_SEEDS is their range.
    """

    curves: list[Curve]  # of every run, also of those that still train
    x: Array
    iqm: Array
    low: Array
    high: Array


class Reached(NamedTuple):
    """Number of runs of a choice that reached a threshold, and what the median run needed."""

    runs: int
    reached: int
    steps: float | None  # None if fewer than half of the runs reached it
    seconds: float | None


def iqm_band(rows: Sequence[RunRow]) -> IqmBand | None:
    """Return the band of runs of one choice and environment, or None if none has a curve.

    It covers the steps that all finished runs have; before the first has finished, those that
    all have.
    """
    with_curve = [
        (row, row.curve) for row in rows if row.curve is not None and row.status != REPEATED
    ]
    if not with_curve:
        return None
    ended = [curve for row, curve in with_curve if row.has_finished]
    curves = ended or [curve for _, curve in with_curve]
    low = max(curve.steps[0] for curve in curves)
    high = min(curve.steps[-1] for curve in curves)
    grid = np.unique(np.concatenate([curve.steps for curve in curves]))
    x = grid[(grid >= low) & (grid <= high)]
    if not len(x):
        x = np.array([low])
    if len(x) > POINTS:
        x = np.linspace(low, high, POINTS)
    returns = np.stack([np.interp(x, curve.steps, curve.returns) for curve in curves], axis=-1)
    bounds = returns.min(-1), returns.max(-1)
    if len(curves) >= ENOUGH_SEEDS:
        intervals = np.array([iqm_interval(values) for values in returns])  # [points, 2]
        bounds = intervals[:, 0], intervals[:, 1]
    return IqmBand([curve for _, curve in with_curve], x, interquartile_mean(returns), *bounds)


def reachable_threshold(goal: float | None, bands: Sequence[IqmBand]) -> float:
    """Return the environment's own goal if a choice reached it, or else what was mostly learned."""
    first = min(float(band.iqm[0]) for band in bands)
    best = max(float(band.iqm.max()) for band in bands)
    if goal is not None and best >= goal:
        return goal
    return first + LEARNED * (best - first)


def time_to(threshold: float, rows: Sequence[RunRow]) -> Reached:
    """Return what the median of runs that have ended needed to reach a threshold."""
    curves = [
        row.curve
        for row in rows
        if row.curve is not None and not row.goes_on and row.status != REPEATED
    ]
    needed = np.full((len(curves), 2), np.inf)
    for place, curve in enumerate(curves):
        above = np.flatnonzero(curve.returns >= threshold)
        if len(above):
            needed[place] = curve.steps[above[0]], curve.seconds[above[0]]
    reached = int(np.isfinite(needed[:, 0]).sum())
    if 2 * reached <= len(curves):
        return Reached(len(curves), reached, None, None)
    with np.errstate(invalid="ignore"):
        steps, seconds = np.percentile(needed, 50, axis=0, method="lower")
    return Reached(len(curves), reached, float(steps), float(seconds))
