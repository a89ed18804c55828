"""Judges every run of finished sweeps on fresh episodes and prints the tables of docs/results.md.

python benchmarks/results.py outputs/RUNS.csv outputs/SWEEP [outputs/SWEEP ...]

What was found of each run becomes a row of that file, whose other rows stay: it may be interrupted,
or go on with more sweeps later, and judges no run twice. The tables are of all of its rows, which
are put together by what was chosen besides the seed. One choice gets a row for each seed; several
get a row each, and are compared with plain DQN: better or worse is a figure whose 95 % interval has
nothing in common with DQN's.
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

from dqn_cli.evaluation.curves import read_curve
from dqn_cli.evaluation.statistics import bootstrap_interval, interquartile_mean
from dqn_cli.policies import evaluate_checkpoint
from dqn_cli.storage import write_atomically

EPISODES = 100
JUDGE_SEED = 12345
BASELINE = "agent=dqn"  # or, if it was not among them, the first choice


class Key(NamedTuple):
    """Which run it was."""

    env: str
    steps: int
    choice: str  # the words typed for it, but for environment and seed
    seed: int


class Judged(NamedTuple):
    """What its checkpoints were judged at, and what it noted itself."""

    best: float
    last: float
    curve: float  # mean of the greedy evaluations as it went
    found: int  # the step of `best`
    minutes: float
    commit: str


def main() -> None:
    table, *sweeps = map(Path, sys.argv[1:])
    runs = read(table)
    for file in (file for sweep in sweeps for file in sorted(sweep.glob("*/result.json"))):
        result = json.loads(file.read_text())
        key = key_of(result)
        if key not in runs:
            runs[key] = judged(file.parent, result)
            write(table, runs)
    for env, steps in sorted({key[:2] for key in runs}):
        own = {key: run for key, run in sorted(runs.items()) if key[:2] == (env, steps)}
        common = set.intersection(*(set(key.choice.split()) for key in own))
        choices: dict[str, dict[int, Judged]] = defaultdict(dict)
        for key, run in own.items():
            choice = " ".join(word for word in key.choice.split() if word not in common)
            choices[choice][key.seed] = run
        print(f"### {env}, {steps:,} steps\n")
        print(by_choice(choices) if len(choices) > 1 else by_seed(*choices.values()))


def key_of(result: dict[str, Any]) -> Key:
    """The run of a result.json."""
    words = (word for word in result["overrides"] if not word.startswith(("seed=", "env=")))
    return Key(result["env"], result["steps"], " ".join(words), result["seed"])


def judged(folder: Path, result: dict[str, Any]) -> Judged:
    """A finished run, its checkpoints judged on fresh episodes."""
    best, last = (
        round(
            evaluate_checkpoint(folder / "checkpoints" / name, EPISODES, JUDGE_SEED, [])["mean"], 3
        )
        for name in ("best", "last")
    )
    return Judged(
        best,
        last,
        round(float(read_curve(folder, "").returns.mean()), 3),
        result["best"]["step"],
        round(result["seconds"]["total"] / 60, 1),
        result["git_commit"] or "",
    )


def read(file: Path) -> dict[Key, Judged]:
    """The rows of a file; none if it is not there."""
    if not file.is_file():
        return {}
    runs = {}
    with file.open(newline="") as rows:
        for row in csv.DictReader(rows):
            key = Key(row["env"], int(row["steps"]), row["choice"], int(row["seed"]))
            best, last, curve = (float(row[name]) for name in ("best", "last", "curve"))
            runs[key] = Judged(
                best, last, curve, int(row["found"]), float(row["minutes"]), row["commit"]
            )
    return runs


def write(file: Path, runs: dict[Key, Judged]) -> None:
    """All rows, in order; an interruption leaves those of before."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Key._fields + Judged._fields)
    writer.writerows(key + run for key, run in sorted(runs.items()))
    write_atomically(file, lambda stream: stream.write(text.getvalue().encode()))


def by_seed(runs: dict[int, Judged]) -> str:
    """One row for each seed, then the interquartile mean over seeds with its interval."""
    lines = ["| seed | best | last | found at step | minutes |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {seed} | {run.best:.1f} | {run.last:.1f} | {run.found:,} | {run.minutes:.1f} |"
        for seed, run in runs.items()
    ]
    best, last = column(runs, "best"), column(runs, "last")
    lines.append(f"| **IQM** | **{interval(best)}** | {interval(last)} | | |")
    lines.append(f"| worst | {min(best):.1f} | {min(last):.1f} | | |")
    return "\n".join(lines) + "\n"


def by_choice(choices: dict[str, dict[int, Judged]]) -> str:
    """One row for each choice: interquartile means over seeds with intervals, and the worst."""
    lines = [
        "| choice | seeds | best, IQM | worst | last, IQM | worst | mean of the curve, IQM |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    baseline = choices.get(BASELINE, next(iter(choices.values())))
    for choice, runs in choices.items():
        best, last, curve = (
            beside(column(runs, name), column(baseline, name)) for name in ("best", "last", "curve")
        )
        lines.append(
            f"| {choice} | {len(runs)} | {best} | {min(column(runs, 'best')):.1f}"
            f" | {last} | {min(column(runs, 'last')):.1f} | {curve} |"
        )
    return "\n".join(lines) + "\n"


def column(runs: dict[int, Judged], name: str) -> list[float]:
    """One figure of every seed."""
    return [getattr(run, name) for run in runs.values()]


def beside(values: list[float], baseline: list[float]) -> str:
    """The interval, and whether it lies above or below that of the baseline."""
    (low, high), (lowest, highest) = bounds(values), bounds(baseline)
    verdict = " **better**" if low > highest else " **worse**" if high < lowest else ""
    return interval(values) + verdict


def interval(values: list[float]) -> str:
    """Interquartile mean over seeds and its 95 % bootstrap interval."""
    low, high = bounds(values)
    return f"{interquartile_mean(np.array(values)):.1f} [{low:.1f}, {high:.1f}]"


def bounds(values: list[float]) -> tuple[float, float]:
    """The 95 % bootstrap interval of the interquartile mean over seeds."""
    return bootstrap_interval(values, interquartile_mean)


if __name__ == "__main__":
    main()
