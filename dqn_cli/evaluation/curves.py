"""Learning curves: the greedy evaluations that runs wrote down, over seeds, on one chart."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.evaluation.statistics import bootstrap_interval

TAGS = ("eval/mean_reward", "rollout/ep_rew_mean")
POINTS = 200
HALF_A_LINE = 45  # letters


class Curve(NamedTuple):
    """One run: what it was, and its return against steps and against seconds."""

    label: str
    steps: Array
    seconds: Array  # trained; what passed before a run was gone on with does not count
    returns: Array
    greedy: bool


class Band(NamedTuple):
    """Several runs that differ in their seed alone, at common points x."""

    label: str
    runs: int
    x: Array
    mean: Array
    low: Array
    high: Array


def read_curve(folder: Path, label: str) -> Curve:
    """The greedy evaluations in a run's event files, or its training returns if it has none.

    Raises ValueError if there is neither.
    """
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    # It would warn of what a resumed run replaces.
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    files = [
        EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
        for file in sorted(folder.glob("events.*"))
    ]
    for tag in TAGS:
        rows: dict[float, tuple[float, float]] = {}  # seconds and return at each step
        for events in files:
            if tag not in events.Tags()["scalars"]:
                continue
            written = events.Scalars(tag)
            # A resumed run writes another file, and goes on from its checkpoint.
            rows = {step: row for step, row in rows.items() if step < written[0].step}
            before = max((seconds for seconds, _ in rows.values()), default=0.0)
            began = events.FirstEventTimestamp() - before
            rows |= {event.step: (event.wall_time - began, event.value) for event in written}
        if rows:
            steps = np.array(sorted(rows), float)
            seconds, returns = np.array([rows[step] for step in steps]).T  # each [rows]
            return Curve(label, steps, seconds, returns, tag == TAGS[0])
    raise ValueError(f"{folder} has no returns to draw yet: no evaluation and no finished episode")


def bands(curves: Sequence[Curve], x: str) -> list[Band]:
    """Mean and 95 % bootstrap interval of each label's curves, where all of them have values."""
    grouped: dict[str, list[Curve]] = {}
    for curve in curves:
        grouped.setdefault(curve.label, []).append(curve)
    return [_band(label, group, x) for label, group in grouped.items()]


def draw(found: Sequence[Band], x: str, y: str, title: str, out: Path) -> None:
    """Writes the chart as a picture; `y` is what its returns are of."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for band in found:
        runs = f" ({band.runs} runs)" if band.runs > 1 else ""
        (line,) = axes.plot(band.x, band.mean, label=f"{band.label}{runs}")
        if band.runs > 1:
            axes.fill_between(band.x, band.low, band.high, color=line.get_color(), alpha=0.2, lw=0)
    axes.set(xlabel="environment steps" if x == "steps" else "seconds", ylabel=y)
    axes.xaxis.set_major_formatter("{x:,.10g}")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    is_long = any(len(band.label) > HALF_A_LINE for band in found)
    shape = {"ncols": 1, "fontsize": "small"} if is_long else {"ncols": 2}
    figure.legend(loc="outside lower center", frameon=False, **shape)
    figure.savefig(out, dpi=150)
    plt.close(figure)


def _band(label: str, curves: Sequence[Curve], x: str) -> Band:
    xs = [getattr(curve, x) for curve in curves]
    low, high = max(each[0] for each in xs), min(each[-1] for each in xs)
    same = all(len(each) == len(xs[0]) and (each == xs[0]).all() for each in xs)
    points = xs[0] if same else np.linspace(low, max(low, high), POINTS)
    values = np.stack(
        [np.interp(points, each, curve.returns) for each, curve in zip(xs, curves, strict=True)]
    )  # [runs, points]
    intervals = np.array([bootstrap_interval(column, _mean) for column in values.T])
    return Band(label, len(curves), points, values.mean(0), intervals[:, 0], intervals[:, 1])


def _mean(sample: Array) -> Array:
    return np.asarray(sample.mean(-1))
