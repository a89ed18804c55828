"""Tables at the end of a sweep: all jobs, also as sweep.csv, and a summary over seeds."""

from __future__ import annotations

import csv
import io
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from dqn_cli.commands.command_line import shell_command
from dqn_cli.config import run_metadata
from dqn_cli.evaluation.comparison import Scores, compare_best
from dqn_cli.evaluation.statistics import ENOUGH_SEEDS, summarize
from dqn_cli.evaluation.tables import (
    TOO_FEW,
    comparison_line,
    format_interval,
    format_return,
    format_seed_interval,
    table_console,
)
from dqn_cli.runs.manifest import is_unstarted
from dqn_cli.runs.result import read_result
from dqn_cli.storage import write_atomically

MOST_ROWS = 100  # of a table in the terminal; sweep.csv has all
MOST_COMPARISONS = 10  # lines below the table; the report has all
COLUMNS = ("job", "folder", "status", "score", "score_ci_low", "score_ci_high", "seconds")


def report_sweep(folder: Path) -> None:
    """Print the tables and write sweep.csv; failed and interrupted jobs are rows too."""
    rows, overridden = write_sweep_csv(folder)
    if not rows:
        return
    varied = [key for key in overridden if len({row.get(key) for row in rows}) > 1]
    _print_jobs(rows, varied or overridden)
    if "seed" in varied:
        _print_over_seeds(rows, [key for key in varied if key != "seed"])
    print(f"also in {folder / 'sweep.csv'}")
    if any(row["status"] == "finished" for row in rows):
        envs = sorted({_env_id(folder / row["folder"]) for row in rows})
        print(f"draw it:      {shlex.join(['dqn-plot', str(folder)])}")
        print(f"report it:    {shlex.join(['dqn-report', str(folder)])}")
        print(f"evaluate it:  {shell_command('dqn-eval', f'checkpoint={folder}', envs)}")
    sys.stdout.flush()


def write_sweep_csv(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Write sweep.csv, and return its rows, the best first, and the keys that were overridden."""
    rows = [_row(job) for job in folder.iterdir() if run_metadata.is_run(job)]
    rows.sort(key=lambda row: (row["score"] is None, -(row["score"] or 0), row["job"]))
    overridden = sorted({key for row in rows for key in row} - set(COLUMNS))
    if rows:
        _write_csv(rows, overridden, folder / "sweep.csv")
    return rows, overridden


def _env_id(run: Path) -> str:
    """Return the id of a run's environment, from its result if there is one: YAML takes longer."""
    result = read_result(run) or {}
    env_id = result.get("env")
    is_readable = isinstance(env_id, str) and env_id.isprintable()
    return str(env_id) if is_readable else run_metadata.load_env_id(run)


def _row(job: Path) -> dict[str, Any]:
    result = read_result(job)
    # The result of a resumed run has the overrides of resuming too; its folder does not.
    overrides = result["overrides"] if result else run_metadata.load_overrides(job)
    row: dict[str, Any] = {**run_metadata.overrides_by_key(overrides), **dict.fromkeys(COLUMNS)}
    row |= {"job": run_metadata.load_job_number(job), "folder": job.name}
    row["status"] = "interrupted" if is_unstarted(job) else "failed"
    if result:
        row |= {"status": result["status"], "seconds": round(result["seconds"]["total"], 3)}
        if best := result["best"]:
            low, high = best["mean_ci95"]
            row |= {"score": best["mean"], "score_ci_low": low, "score_ci_high": high}
    return row


def _print_jobs(rows: list[dict[str, Any]], keys: list[str]) -> None:
    kinds = "the best greedy evaluation, or of training returns without one"
    left_out = _left_out(len(rows))
    table = Table(caption=f"score: mean of {kinds}, with its 95 % interval{left_out}")
    for heading in ("job", *keys, "score", "interval", "status", "seconds"):
        table.add_column(heading, justify="right" if heading in ("score", "seconds") else "left")
    for row in rows[:MOST_ROWS]:
        has_score = row["score"] is not None
        table.add_row(
            str(row["job"]),
            *(str(row.get(key, "-")) for key in keys),
            format_return(row["score"]) if has_score else "-",
            format_interval([row["score_ci_low"], row["score_ci_high"]]) if has_score else "-",
            row["status"],
            f"{row['seconds']:.0f}" if row["seconds"] is not None else "-",
        )
    table_console().print(table)


def _left_out(rows: int) -> str:
    return f"; {rows - MOST_ROWS:,} more rows are left out here" if rows > MOST_ROWS else ""


def _print_over_seeds(rows: list[dict[str, Any]], keys: list[str]) -> None:
    """Print the interquartile mean of each choice with several finished seeds, best first."""
    scores: dict[tuple[str, ...], list[float]] = defaultdict(list)
    seeds: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        choice = tuple(str(row.get(key, "-")) for key in keys)
        seeds[choice] += 1
        if row["status"] == "finished" and row["score"] is not None:
            scores[choice].append(row["score"])
    summaries = {choice: summarize(values) for choice, values in scores.items() if len(values) > 1}
    if not summaries:
        return
    note = f"; with fewer than {ENOUGH_SEEDS} seeds none can be trusted"
    note += _left_out(len(summaries))
    table = Table(caption=f"iqm: mean of the middle half, with its 95 % interval{note}")
    for heading in (*keys, "seeds", "iqm", "interval", "worst"):
        table.add_column(heading, justify="right" if heading in ("iqm", "worst") else "left")
    best = sorted(summaries.items(), key=lambda item: -item[1].iqm)
    for choice, summary in best[:MOST_ROWS]:
        finished, started = len(scores[choice]), seeds[choice]
        table.add_row(
            *choice,
            str(finished) if finished == started else f"{finished} of {started}",
            format_return(summary.iqm),
            format_seed_interval(summary.iqm_ci95, finished),
            format_return(summary.min),
        )
    table_console().print(table)
    for line in _comparison_lines(scores, keys):
        print(line)


def _comparison_lines(scores: Mapping[tuple[str, ...], list[float]], keys: list[str]) -> list[str]:
    """Return how the choice of the highest mean compares with the others, in each environment."""
    place = keys.index("env") if "env" in keys else None
    by_env: dict[str, dict[str, Scores]] = defaultdict(dict)
    for choice, values in scores.items():
        env = "" if place is None else choice[place]
        pairs = zip(keys, choice, strict=True)
        label = ", ".join(f"{key}={value}" for key, value in pairs if key != "env")
        by_env[env][label] = [np.array(values)]
    lines = []
    for env, choices in by_env.items():
        ranking = compare_best(choices)
        prefix = f"{env}: " if env else ""
        if ranking is None and len(choices) > 1:
            lines.append(prefix + TOO_FEW)
        if ranking is not None:
            lines += [
                prefix + comparison_line(ranking.best, label, comparison)
                for label, comparison in islice(ranking.comparisons.items(), MOST_COMPARISONS)
            ]
    return lines


def _write_csv(rows: list[dict[str, Any]], overridden: list[str], path: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *overridden], restval="")
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode()
    write_atomically(path, lambda file: file.write(content))
