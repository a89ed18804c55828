"""The data behind a report, as CSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from dqn_cli.evaluation.statistics import summarize
from dqn_cli.reporting.bands import IqmBand
from dqn_cli.reporting.run_rows import RunRow
from dqn_cli.reporting.score_table import ScoreTable, score_of
from dqn_cli.storage import write_atomically

RUN_COLUMNS = ("choice", "env", "seed", "status", "score", "final", "fresh", "steps", "seconds",
               "members", "folder", "error")  # fmt: skip
CHOICE_COLUMNS = ("choice", "env", "seeds", "mean", "mean_ci_low", "mean_ci_high", "iqm",
                  "iqm_ci_low", "iqm_ci_high", "worst", "best")  # fmt: skip
COMPARISON_COLUMNS = ("best", "other", "difference", "ci_low", "ci_high", "p_holm", "seeds_needed")
CURVE_COLUMNS = ("choice", "env", "step", "iqm", "low", "high", "runs")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table; None becomes an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_atomically(path, lambda file: file.write(text.getvalue().encode()))


def write_runs(path: Path, rows: Sequence[RunRow], kind: str) -> None:
    """Write a row for each run, with its overrides."""
    keys = sorted({key for row in rows for key in row.overrides} - {*RUN_COLUMNS})
    write_csv(path, (*RUN_COLUMNS, *keys), (
        (row.choice, row.env, row.seed, row.status, score_of(row, kind), row.final, row.fresh,
         row.steps, row.seconds, row.members, row.folder, row.error,
         *(row.overrides.get(key) for key in keys))
        for row in rows
    ))  # fmt: skip


def write_choices(path: Path, table: ScoreTable) -> None:
    """Write the statistics of each choice in each environment; intervals of few seeds too."""
    rows: list[Sequence[object]] = []
    for label, arrays in table.choices.items():
        for env, scores in zip(table.envs, arrays, strict=True):
            if len(scores):
                s = summarize(scores)
                intervals = (s.mean, *s.mean_ci95, s.iqm, *s.iqm_ci95)
                rows.append((label, env, len(scores), *intervals, s.min, s.max))
    write_csv(path, CHOICE_COLUMNS, rows)


def write_comparisons(path: Path, table: ScoreTable) -> None:
    """Write how the best choice compares with each other one."""
    ranking = table.ranking
    found = ranking.comparisons.items() if ranking else ()
    best = ranking.best if ranking else ""
    write_csv(path, COMPARISON_COLUMNS, (
        (best, label, c.difference, c.low, c.high, c.p, c.seeds_needed) for label, c in found
    ))  # fmt: skip


def write_curves(path: Path, bands: Mapping[tuple[str, str], IqmBand]) -> None:
    """Write the points of each choice's curve in each environment."""
    write_csv(path, CURVE_COLUMNS, (
        (choice, env, *point, len(band.curves))
        for (choice, env), band in bands.items()
        for point in zip(band.x, band.iqm, band.low, band.high, strict=True)
    ))  # fmt: skip
