"""Learning curves: returns from event files, averaged over seeds, on one chart."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.evaluation.event_records import load_events
from dqn_cli.evaluation.statistics import ENOUGH_SEEDS, mean_interval
from dqn_cli.storage import write_atomically

TAGS = ("eval/mean_reward", "rollout/ep_rew_mean")
POINTS = 200  # of a band whose runs have different steps
BAND_NOTE = f"band: 95 % interval of the mean; of fewer than {ENOUGH_SEEDS} runs, their range"
MAX_TWO_COLUMN_LABEL = 45  # letters that fit into half of the legend's width


class Curve(NamedTuple):
    """The returns of one run, against steps and seconds; arrays are [points]."""

    label: str
    steps: Array
    seconds: Array  # time in sessions, without the pause before a run resumed
    returns: Array
    greedy: bool  # returns of greedy evaluations, not of training episodes


class Band(NamedTuple):
    """Mean and interval of runs that differ in their seed alone; arrays are [points].

    The interval of fewer runs than ENOUGH_SEEDS is their range.
    """

    label: str
    runs: int
    x: Array
    mean: Array
    low: Array
    high: Array


def read_curve(folder: Path, label: str) -> Curve:
    """Read a run's greedy returns from its event files, or else its training returns.

    Raises:
        ValueError: The files hold neither, or one is damaged.
    """
    # TensorBoard warns about steps that a resumed run replaces, which is expected here.
    logging.getLogger("tensorboard").setLevel(logging.ERROR)
    files = [load_events(file) for file in sorted(folder.glob("events.*"))]
    for tag in TAGS:
        rows: dict[float, tuple[float, float]] = {}  # seconds and return at each step
        for events in files:
            if tag not in events.Tags()["scalars"]:
                continue
            written = events.Scalars(tag)
            # A resumed run writes another file from its checkpoint on, which replaces later rows.
            rows = {step: row for step, row in rows.items() if step < written[0].step}
            trained = max((seconds for seconds, _ in rows.values()), default=0.0)
            start = events.FirstEventTimestamp() - trained
            rows |= {event.step: (event.wall_time - start, event.value) for event in written}
        if rows:
            steps = np.array(sorted(rows), float)
            seconds, returns = np.array([rows[step] for step in steps]).T  # each [rows]
            return Curve(label, steps, seconds, returns, tag == TAGS[0])
    reason = "no evaluation and no finished episode"
    if not files:
        reason = "no event file, which logger=tensorboard writes"
    raise ValueError(f"{folder} has no returns to draw yet: {reason}")


def aggregate_curves(curves: Sequence[Curve], x: str) -> list[Band]:
    """Return the mean and 95 % interval of each label's curves, where they overlap."""
    grouped: dict[str, list[Curve]] = {}
    for curve in curves:
        grouped.setdefault(curve.label, []).append(curve)
    return [_band(label, group, x) for label, group in grouped.items()]


def point_style(x: Array) -> dict[str, Any]:
    """Return what a line through `x` is drawn with besides: a single point has no line to see."""
    return {"marker": "o"} if len(x) == 1 else {}


def plot_bands(bands: Sequence[Band], x: str, y: str, title: str, out: Path) -> None:
    """Write the chart as an image; `x` is "steps" or "seconds", `y` the label of the returns."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    for band in bands:
        runs = f" ({band.runs} runs)" if band.runs > 1 else ""
        text = f"{band.label}{runs}"
        (line,) = axes.plot(band.x, band.mean, label=text, **point_style(band.x))
        if band.runs > 1:
            axes.fill_between(band.x, band.low, band.high, color=line.get_color(), alpha=0.2, lw=0)
    axes.set(xlabel="environment steps" if x == "steps" else "seconds", ylabel=y)
    axes.xaxis.set_major_formatter("{x:,.10g}")
    axes.set_title(title)
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    is_long = any(len(band.label) > MAX_TWO_COLUMN_LABEL for band in bands)
    legend: dict[str, Any] = {"ncols": 1, "fontsize": "small"} if is_long else {"ncols": 2}
    if any(band.runs > 1 for band in bands):
        legend |= {"title": BAND_NOTE, "title_fontsize": "small"}
    figure.legend(loc="outside lower center", frameon=False, **legend)
    kind = out.suffix.removeprefix(".").lower()
    write_atomically(out, lambda file: figure.savefig(file, format=kind, dpi=150))
    plt.close(figure)


def _band(label: str, curves: Sequence[Curve], x: str) -> Band:
    xs = [getattr(curve, x) for curve in curves]
    low, high = max(values[0] for values in xs), min(values[-1] for values in xs)
    are_equal = all(np.array_equal(values, xs[0]) for values in xs)
    points = xs[0] if are_equal else np.linspace(low, max(low, high), POINTS)
    returns = np.stack(
        [np.interp(points, values, curve.returns) for values, curve in zip(xs, curves, strict=True)]
    )  # [runs, points]
    has_enough = len(curves) >= ENOUGH_SEEDS
    low, high = mean_interval(returns.T) if has_enough else (returns.min(0), returns.max(0))
    return Band(label, len(curves), points, returns.mean(0), low, high)
