"""Evaluate the runs of finished sweeps and print the tables of docs/results.md.

python benchmarks/results.py outputs/RUNS.csv outputs/SWEEP [outputs/SWEEP ...]

Each run is evaluated on fresh episodes and becomes a row of RUNS.csv. Runs that the file already
holds are not evaluated again, so the script may be interrupted and may add sweeps later.

The tables show all rows of the file, grouped by their choices other than the seed. A single choice
gets a row for each seed. Several choices get a row each and are compared with plain DQN: a score is
better or worse if Welch's test says so, with five seeds or more of each and one error rate for all
choices (Holm).
"""

from __future__ import annotations

import csv
import io
import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dqn_cli.evaluation.comparison import Comparison, compare, holm
from dqn_cli.evaluation.curves import read_curve
from dqn_cli.evaluation.statistics import ENOUGH_SEEDS, interquartile_mean, iqm_interval
from dqn_cli.policies import evaluate_checkpoint
from dqn_cli.storage import write_atomically

EPISODES = 100
EVALUATION_SEED = 12345
BASELINE = "agent=dqn"  # the first choice if this one is missing


class Key(NamedTuple):
    """The identity of a run."""

    env: str
    steps: int
    choice: str  # its overrides without environment and seed
    seed: int


class EvaluatedRun(NamedTuple):
    """Mean returns of a run's checkpoints, and data from its result.json."""

    best: float
    last: float
    curve: float  # mean of the greedy evaluations during training
    found: int  # the step of `best`, a column of the file
    minutes: float
    commit: str


def main() -> None:
    table, *sweeps = map(Path, sys.argv[1:])
    runs = read_rows(table)
    for file in (file for sweep in sweeps for file in sorted(sweep.glob("*/result.json"))):
        result = json.loads(file.read_text())
        key = run_key(result)
        if key not in runs:
            runs[key] = evaluate_run(file.parent, result)
            write_rows(table, runs)
    for env, steps in sorted({key[:2] for key in runs}):
        group = {key: run for key, run in sorted(runs.items()) if key[:2] == (env, steps)}
        common = set.intersection(*(set(key.choice.split()) for key in group))
        choices: dict[str, dict[int, EvaluatedRun]] = defaultdict(dict)
        for key, run in group.items():
            choice = " ".join(word for word in key.choice.split() if word not in common)
            choices[choice][key.seed] = run
        print(f"### {env}, {steps:,} steps\n")
        print(table_by_choice(choices) if len(choices) > 1 else table_by_seed(*choices.values()))


def run_key(result: dict[str, Any]) -> Key:
    """Return the identity of the run with this result.json."""
    words = (word for word in result["overrides"] if not word.startswith(("seed=", "env=")))
    return Key(result["env"], result["steps"], " ".join(words), result["seed"])


def evaluate_run(folder: Path, result: dict[str, Any]) -> EvaluatedRun:
    """Evaluate both checkpoints of a finished run on fresh episodes."""
    best, last = (
        evaluate_checkpoint(folder / "checkpoints" / name, EPISODES, EVALUATION_SEED, [])["mean"]
        for name in ("best", "last")
    )
    return EvaluatedRun(
        round(best, 3),
        round(last, 3),
        round(float(read_curve(folder, "").returns.mean()), 3),
        result["best"]["step"],
        round(result["seconds"]["total"] / 60, 1),
        result["git_commit"] or "",
    )


def read_rows(file: Path) -> dict[Key, EvaluatedRun]:
    """Return the rows of a file; none if it does not exist."""
    if not file.is_file():
        return {}
    runs = {}
    with file.open(newline="") as rows:
        for row in csv.DictReader(rows):
            key = Key(row["env"], int(row["steps"]), row["choice"], int(row["seed"]))
            best, last, curve = (float(row[name]) for name in ("best", "last", "curve"))
            runs[key] = EvaluatedRun(
                best, last, curve, int(row["found"]), float(row["minutes"]), row["commit"]
            )
    return runs


def write_rows(file: Path, runs: dict[Key, EvaluatedRun]) -> None:
    """Write all rows in order; an interruption leaves the old file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Key._fields + EvaluatedRun._fields)
    writer.writerows(key + run for key, run in sorted(runs.items()))
    write_atomically(file, lambda stream: stream.write(text.getvalue().encode()))


def table_by_seed(runs: dict[int, EvaluatedRun]) -> str:
    """Return a table with a row for each seed, the interquartile mean and its interval."""
    lines = ["| seed | best | last | found at step | minutes |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {seed} | {run.best:.1f} | {run.last:.1f} | {run.found:,} | {run.minutes:.1f} |"
        for seed, run in runs.items()
    ]
    best, last = column(runs, "best"), column(runs, "last")
    lines.append(f"| **IQM** | **{format_score(best)}** | {format_score(last)} | | |")
    lines.append(f"| worst | {min(best):.1f} | {min(last):.1f} | | |")
    return "\n".join(lines) + "\n"


def table_by_choice(choices: dict[str, dict[int, EvaluatedRun]]) -> str:
    """Return a table with a row for each choice: interquartile means, intervals and the worst."""
    lines = [
        "| choice | seeds | best, IQM | worst | last, IQM | worst | mean of the curve, IQM |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    baseline = choices.get(BASELINE, next(iter(choices.values())))
    found = {name: compare_with(baseline, choices, name) for name in ("best", "last", "curve")}
    for choice, runs in choices.items():
        best, last, curve = (
            format_score(column(runs, name)) + verdict(found[name][choice]) for name in found
        )
        lines.append(
            f"| {choice} | {len(runs)} | {best} | {min(column(runs, 'best')):.1f}"
            f" | {last} | {min(column(runs, 'last')):.1f} | {curve} |"
        )
    return "\n".join(lines) + "\n"


def column(runs: dict[int, EvaluatedRun], name: str) -> list[float]:
    """Return one score of every seed."""
    return [getattr(run, name) for run in runs.values()]


def compare_with(
    baseline: dict[int, EvaluatedRun], choices: dict[str, dict[int, EvaluatedRun]], name: str
) -> dict[str, Comparison]:
    """Compare one score of each choice with the baseline's."""
    other = [np.array(column(baseline, name))]
    found = {c: compare([np.array(column(runs, name))], other) for c, runs in choices.items()}
    tested = [choice for choice, runs in choices.items() if runs is not baseline]
    adjusted = dict(zip(tested, holm([found[choice].p for choice in tested]), strict=True))
    return {c: found[c]._replace(p=adjusted.get(c, 1.0)) for c in found}


def verdict(comparison: Comparison) -> str:
    """Say whether a score is shown to be above or below the baseline's."""
    if not comparison.is_different:
        return ""
    return " **better**" if comparison.difference > 0 else " **worse**"


def format_score(values: list[float]) -> str:
    """Format the interquartile mean over seeds, and its 95 % interval if there are enough."""
    score = f"{interquartile_mean(np.array(values)):.1f}"
    if len(values) < ENOUGH_SEEDS:
        return f"{score} ({min(values):.1f} to {max(values):.1f})"
    low, high = iqm_interval(values)
    return f"{score} [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    main()
