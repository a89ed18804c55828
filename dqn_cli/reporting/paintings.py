"""Contents of each chart of a report."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.evaluation.aggregates import (
    improvement,
    improvement_interval,
    performance_profile,
    profile_band,
)
from dqn_cli.evaluation.curves import point_style
from dqn_cli.evaluation.statistics import ENOUGH_SEEDS, interquartile_mean, iqm_interval
from dqn_cli.reporting.bands import IqmBand
from dqn_cli.reporting.charts import INK, MOST_COLOURS, Chart, colour, draw
from dqn_cli.reporting.score_table import ScoreTable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_ROWS = 20  # choices in a chart with a row for each
LABEL_WIDTH = 26  # letters of a row's label in one line
LEGEND_WIDTH = 60
THIN_POINTS = 12_000  # of all single runs in one chart, so that the page stays small
LEVELS = 101  # of a performance profile

Paint = Callable[["Figure", "Axes"], None]


def draw_curves(
    env: str,
    bands: Mapping[str, IqmBand],
    places: Mapping[str, int],
    y: str,
    folder: Path,
    name: str,
) -> Chart:
    """Draw the learning curves of one environment: interquartile means, and each seed thin.

    Args:
        env: Id of the environment.
        bands: By choice, at most as many as there are colours.
        places: The place of each choice's colour.
        y: The label of returns.
        folder: Where the PNG goes.
        name: Name of the chart.
    """
    runs = sum(len(band.curves) for band in bands.values())
    points = max(8, THIN_POINTS // max(1, runs))

    def paint(figure: Figure, axes: Axes) -> None:
        for label, band in bands.items():
            ink = colour(places[label])
            for curve in band.curves:
                shown = _spread(len(curve.steps), points)
                steps, returns = curve.steps[shown], curve.returns[shown]
                axes.plot(steps, returns, color=ink, lw=0.5, alpha=0.35, **point_style(steps))
            if len(band.curves) > 1:
                axes.fill_between(band.x, band.low, band.high, color=ink, alpha=0.2, lw=0)
            text = f"{label or env} ({len(band.curves)})"
            text = textwrap.fill(text, LEGEND_WIDTH)
            axes.plot(band.x, band.iqm, color=ink, lw=2, label=text, **point_style(band.x))
        axes.set(xlabel="environment steps", ylabel=y, title=env)
        axes.xaxis.set_major_formatter("{x:,.10g}")
        axes.locator_params(axis="x", nbins=5)
        figure.legend(loc="outside lower left", ncols=1)

    caption = f"Learning curves on {env}: interquartile mean over seeds, 95 % interval, every seed"
    return draw(name, caption, folder, 3.2 + 0.2 * len(bands), paint)


def draw_scores(
    env: str, scores: Mapping[str, Array], places: Mapping[str, int], folder: Path, name: str
) -> Chart:
    """Draw the scores of one environment: a dot for each seed, interquartile mean and interval."""
    shown = list(scores)[:MOST_ROWS]

    def paint(figure: Figure, axes: Axes) -> None:
        for row, label in enumerate(shown):
            values, ink = scores[label], colour(places[label])
            spread = np.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else np.zeros(1)
            axes.plot(values, row + spread, "o", color=ink, ms=4, alpha=0.7, mew=0)
            middle = float(interquartile_mean(values))
            axes.plot([middle], [row], "|", color=INK, ms=16, mew=2)
            if len(values) >= ENOUGH_SEEDS:
                axes.plot(iqm_interval(values), [row, row], color=INK, lw=1.5)
        _label_rows(axes, shown)
        axes.set(xlabel="score", title=env)

    caption = f"Scores on {env}: a dot for each seed, interquartile mean and 95 % interval"
    return draw(name, caption, folder, _row_height(shown), paint)


def draw_profiles(table: ScoreTable, places: Mapping[str, int], folder: Path) -> Chart:
    """Draw performance profiles: the share of runs that score more than each level."""
    shown = list(table.normalised)[:MOST_COLOURS]
    together = np.concatenate([v for label in shown for v in table.normalised[label]])
    levels = np.linspace(float(together.min()), float(together.max()), LEVELS)

    def paint(figure: Figure, axes: Axes) -> None:
        for label in shown:
            scores, ink = table.normalised[label], colour(places[label])
            share = performance_profile(scores, levels)
            text = textwrap.fill(label, LEGEND_WIDTH)
            axes.step(levels, share, where="post", color=ink, lw=2, label=text)
            if min(map(len, scores)) >= ENOUGH_SEEDS:
                low, high = profile_band(scores, levels)
                axes.fill_between(levels, low, high, step="post", color=ink, alpha=0.15, lw=0)
        axes.set(xlabel=textwrap.fill(table.scale, LEGEND_WIDTH), ylabel="share of runs above")
        figure.legend(loc="outside lower left", ncols=1)

    caption = "Performance profiles: the share of runs that score more, with 95 % bands"
    return draw("profiles", caption, folder, 3.2 + 0.2 * len(shown), paint)


def draw_improvement(table: ScoreTable, folder: Path) -> Chart:
    """Draw how probably a run of the best choice scores more than one of each other."""
    best, *others = list(table.normalised)[: MOST_ROWS + 1]

    def paint(figure: Figure, axes: Axes) -> None:
        axes.axvline(0.5, color=INK, lw=1, ls="--")
        first = table.normalised[best]
        for row, label in enumerate(others):
            second = table.normalised[label]
            axes.plot([improvement(first, second)], [row], "o", color=colour(0), ms=6)
            if min(map(len, (*first, *second))) >= ENOUGH_SEEDS:
                axes.plot(improvement_interval(first, second), [row, row], color=colour(0), lw=2)
        _label_rows(axes, others)
        axes.set(xlim=(-0.02, 1.02), xlabel=textwrap.fill(f"P({best} scores more)", LEGEND_WIDTH))

    caption = f"Probability that a run of {best} scores more than one of each other choice"
    return draw("improvement", caption, folder, _row_height(others), paint)


def _label_rows(axes: Axes, labels: Sequence[str]) -> None:
    wrapped = [textwrap.fill(label or "all", LABEL_WIDTH) for label in labels]
    axes.set_yticks(range(len(labels)), wrapped)
    axes.set_ylim(len(labels) - 0.5, -0.5)


def _row_height(labels: Sequence[str]) -> float:
    lines = [len(textwrap.wrap(label, LABEL_WIDTH)) for label in labels]
    return 0.9 + sum(max(0.42, 0.17 * count) for count in lines)


def _spread(count: int, most: int) -> Array:
    """Return at most `most` places of `count`, first and last among them."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(int))
