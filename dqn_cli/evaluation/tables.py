"""The result of an evaluation, as data for a file and as a table for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from dqn_cli.evaluation.comparison import Comparison
from dqn_cli.evaluation.play import Episodes
from dqn_cli.evaluation.statistics import ENOUGH_SEEDS, summarize

REPORT_SCHEMA = 1
MIN_WIDTH = 110
TOO_FEW = f"too few seeds to tell which is better: it takes {ENOUGH_SEEDS} of each"


def summarize_episodes(episodes: Episodes) -> dict[str, Any]:
    """Return every return and length, and their statistics, as plain data."""
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
        "info": episodes.info,
    }


def format_return(value: float) -> str:
    """Format a return, with more decimals where it is small."""
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def format_interval(bounds: Sequence[float]) -> str:
    """Format an interval for a cell of a table, with the bracket escaped for rich."""
    return rf"\[{', '.join(map(format_return, bounds))}]"


def format_seed_interval(bounds: Sequence[float], seeds: int) -> str:
    """Format an interval over seeds, if there are enough."""
    return "too few seeds" if seeds < ENOUGH_SEEDS else format_interval(bounds)


def comparison_line(better: str, worse: str, comparison: Comparison) -> str:
    """Return in a sentence whether a choice is better than another, by `compare(better, worse)`."""
    bounds = f"{format_return(comparison.low)} to {format_return(comparison.high)}"
    size = (
        f"{format_return(comparison.difference)} in the mean (95 %: {bounds}; p {comparison.p:.2g})"
    )
    if comparison.is_different:
        return f"{better} is better than {worse} by {size}"
    line = f"{better} is not shown to be better than {worse}: {size}"
    if comparison.seeds_needed is None:
        return line
    return f"{line}; about {comparison.seeds_needed:,} seeds of each would show one as large"


def table_console() -> Console:
    """Return a console for tables.

    It may be wider than the terminal, because a wrapped line reads better than a cut number.
    """
    return Console(width=max(Console().width, MIN_WIDTH), soft_wrap=True, highlight=False)


def print_table(reports: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> None:
    """Print a row for each report, and a summary of reports of one environment and label.

    Checkpoints are listed above the table, because their paths are long.
    """
    console = table_console()
    table = Table(caption="iqm: mean of the middle half, with its 95 % interval")
    info_names = list(dict.fromkeys(name for report in reports for name in report["info"]))
    columns = ("", "mean", "std", "iqm", "interval", "min", "max", "length", "episodes")
    for heading in (*columns, *map(escape, info_names)):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, report in enumerate(reports, start=1):
        console.print(f"{number}: {report['checkpoint']} ({report['env']})", markup=False)
        table.add_row(
            str(number),
            *(format_return(report[name]) for name in ("mean", "std", "iqm")),
            format_interval(report["iqm_ci95"]),
            *(format_return(report[name]) for name in ("min", "max")),
            f"{sum(report['lengths']) / len(report['lengths']):.1f}",
            str(report["episodes"]),
            *(_format_at_end(report["info"].get(name)) for name in info_names),
        )
    console.print(table)
    means: dict[tuple[str, str], list[float]] = {}
    for report, label in zip(reports, labels, strict=True):
        means.setdefault((report["env"], label), []).append(report["mean"])
    for (_, label), group in means.items():
        if len(group) > 1:
            summary = summarize(group)
            has_enough = len(group) >= ENOUGH_SEEDS
            interval = (
                format_interval(summary.iqm_ci95) if has_enough else "(too few seeds to tell)"
            )
            console.print(
                f"{label or 'together'}: iqm of {len(group)} means {format_return(summary.iqm)}"
                f" {interval}, worst {format_return(summary.min)}"
            )


def _format_at_end(means: Mapping[str, float | None] | None) -> str:
    """Format the value of a scalar in `info` at episodes' ends."""
    value = means["at_end"] if means else None
    return "-" if value is None else format_return(value)
