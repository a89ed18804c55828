"""The end of a sweep: a table of all its jobs, the same as sweep.csv, and one over its seeds."""

from __future__ import annotations

import csv
import io
import shlex
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from rich.table import Table

from dqn_cli.commands.command_line import next_command
from dqn_cli.config import run_metadata
from dqn_cli.evaluation.statistics import summarize
from dqn_cli.evaluation.tables import figure, interval, wide_console
from dqn_cli.runs.manifest import has_not_begun
from dqn_cli.runs.result import read_result
from dqn_cli.storage import write_atomically

COLUMNS = ("job", "folder", "status", "score", "score_ci_low", "score_ci_high", "seconds")


def report_sweep(folder: Path) -> None:
    """Prints the table and writes the file, whatever became of the jobs."""
    rows = [_row(job) for job in folder.iterdir() if run_metadata.is_run(job)]
    if not rows:
        return
    rows.sort(key=lambda row: (row["score"] is None, -(row["score"] or 0), row["job"]))
    overridden = sorted({key for row in rows for key in row} - set(COLUMNS))
    _write(rows, overridden, folder / "sweep.csv")
    varied = [key for key in overridden if len({row.get(key) for row in rows}) > 1]
    _print(rows, varied or overridden)
    if "seed" in varied:
        _print_over_seeds(rows, [key for key in varied if key != "seed"])
    print(f"also in {folder / 'sweep.csv'}")
    if any(row["status"] == "finished" for row in rows):
        envs = sorted({run_metadata.env_id(folder / row["folder"]) for row in rows})
        print(f"draw it:   {shlex.join(['dqn-plot', str(folder)])}")
        print(f"judge it:  {next_command('dqn-eval', f'checkpoint={folder}', envs)}")
    sys.stdout.flush()


def _row(job: Path) -> dict[str, Any]:
    result = read_result(job)
    # A run that was gone on with for longer says so; its folder says how it was started.
    words = result["overrides"] if result else run_metadata.overrides(job)
    row: dict[str, Any] = {**run_metadata.by_key(words), **dict.fromkeys(COLUMNS)}
    row |= {"job": run_metadata.job_number(job), "folder": job.name}
    row["status"] = "interrupted" if has_not_begun(job) else "failed"
    if result:
        row |= {"status": result["status"], "seconds": round(result["seconds"]["total"], 3)}
        if best := result["best"]:
            low, high = best["mean_ci95"]
            row |= {"score": best["mean"], "score_ci_low": low, "score_ci_high": high}
    return row


def _print(rows: list[dict[str, Any]], swept: list[str]) -> None:
    table = Table(caption="score: mean of the best greedy evaluation, with its 95 % interval")
    for heading in ("job", *swept, "score", "interval", "status", "seconds"):
        table.add_column(heading, justify="right" if heading in ("score", "seconds") else "left")
    for row in rows:
        known = row["score"] is not None
        table.add_row(
            str(row["job"]),
            *(str(row.get(key, "-")) for key in swept),
            figure(row["score"]) if known else "-",
            interval([row["score_ci_low"], row["score_ci_high"]]) if known else "-",
            row["status"],
            f"{row['seconds']:.0f}" if row["seconds"] is not None else "-",
        )
    wide_console().print(table)


def _print_over_seeds(rows: list[dict[str, Any]], chosen: list[str]) -> None:
    """What several seeds of one choice came to together, best first, once they are finished."""
    scores: dict[tuple[str, ...], list[float]] = defaultdict(list)
    tried: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        choice = tuple(str(row.get(key, "-")) for key in chosen)
        tried[choice] += 1
        if row["status"] == "finished" and row["score"] is not None:
            scores[choice].append(row["score"])
    several = {choice: summarize(found) for choice, found in scores.items() if len(found) > 1}
    if not several:
        return
    table = Table(caption="iqm: mean of the middle half, with its 95 % interval")
    for heading in (*chosen, "seeds", "iqm", "interval", "worst"):
        table.add_column(heading, justify="right" if heading in ("iqm", "worst") else "left")
    for choice, found in sorted(several.items(), key=lambda item: -item[1].iqm):
        ended, begun = len(scores[choice]), tried[choice]
        table.add_row(
            *choice,
            str(ended) if ended == begun else f"{ended} of {begun}",
            figure(found.iqm),
            interval(found.iqm_ci95),
            figure(found.min),
        )
    wide_console().print(table)


def _write(rows: list[dict[str, Any]], overridden: list[str], path: Path) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, [*COLUMNS, *overridden], restval="")
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue().encode()
    write_atomically(path, lambda file: file.write(content))
