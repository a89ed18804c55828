"""What an evaluation found, as a table for people and a file for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from dqn_cli.evaluation.play import Episodes
from dqn_cli.evaluation.statistics import summarize

SCHEMA = 1
WIDTH = 110


def report_of(episodes: Episodes) -> dict[str, Any]:
    """Every return and length, and what they come to."""
    summary = summarize(episodes.returns)
    return {
        "episodes": len(episodes.returns),
        "returns": episodes.returns.tolist(),
        "lengths": episodes.lengths.tolist(),
        "mean": summary.mean,
        "std": summary.std,
        "iqm": summary.iqm,
        "iqm_ci95": list(summary.iqm_ci95),
        "min": summary.min,
        "max": summary.max,
    }


def figure(value: float) -> str:
    """A return as people read it: more digits where returns are small."""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def interval(bounds: Sequence[float]) -> str:
    """Both bounds, for a cell of a table: rich takes a plain bracket for markup."""
    return rf"\[{', '.join(map(figure, bounds))}]"


def wide_console() -> Console:
    """Where tables go: cut figures are worse than wrapped lines, so it may exceed the terminal."""
    return Console(width=max(Console().width, WIDTH), soft_wrap=True, highlight=False)


def print_table(reports: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> None:
    """One row for each report, and what those of one environment and label come to together.

    The checkpoints are named above, where there is room for a path.
    """
    console = wide_console()
    table = Table(caption="iqm: mean of the middle half, with its 95 % bootstrap interval")
    for heading in ("", "mean", "std", "iqm", "interval", "min", "max", "length", "episodes"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, report in enumerate(reports, start=1):
        console.print(f"{number}: {report['checkpoint']} ({report['env']})", markup=False)
        table.add_row(
            str(number),
            *(figure(report[name]) for name in ("mean", "std", "iqm")),
            interval(report["iqm_ci95"]),
            *(figure(report[name]) for name in ("min", "max")),
            f"{sum(report['lengths']) / len(report['lengths']):.1f}",
            str(report["episodes"]),
        )
    console.print(table)
    means: dict[tuple[str, str], list[float]] = {}
    for report, label in zip(reports, labels, strict=True):
        means.setdefault((report["env"], label), []).append(report["mean"])
    for (_, label), alike in means.items():
        if len(alike) > 1:
            together = summarize(alike)
            console.print(
                f"{label or 'together'}: iqm of {len(alike)} means {figure(together.iqm)}"
                f" {interval(together.iqm_ci95)}, worst {figure(together.min)}"
            )
