"""Judges every run of finished sweeps on fresh episodes and prints the tables of docs/results.md.

python benchmarks/results.py outputs/SWEEP [outputs/SWEEP ...]

Runs of all sweeps are put together by what was chosen besides the seed. One choice gets a row for
each seed; several get a row each, and are compared with plain DQN: better or worse is a figure
whose 95 % interval has nothing in common with DQN's.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dqn_cli.evaluation.curves import read_curve
from dqn_cli.evaluation.statistics import bootstrap_interval, interquartile_mean
from dqn_cli.policies import judge

EPISODES = 100
JUDGE_SEED = 12345
BASELINE = "agent=dqn"  # or, if it was not among them, the first choice


class Run(NamedTuple):
    """One seed's result, and what its checkpoints were judged at."""

    env: str
    choice: tuple[str, ...]
    seed: int
    steps: int
    best: float
    last: float
    curve: float  # mean of the greedy evaluations as it went
    found: int
    minutes: float


def main() -> None:
    runs = [judged(file.parent) for sweep in sys.argv[1:] for file in results_in(Path(sweep))]
    for env in sorted({run.env for run in runs}):
        own = sorted(run for run in runs if run.env == env)
        common = set.intersection(*(set(run.choice) for run in own))
        choices: dict[str, list[Run]] = defaultdict(list)
        for run in own:
            choices[" ".join(word for word in run.choice if word not in common)].append(run)
        steps = next(iter(choices.values()))[0].steps
        print(f"### {env}, {steps:,} steps\n")
        print(by_choice(choices) if len(choices) > 1 else by_seed(*choices.values()))


def results_in(sweep: Path) -> list[Path]:
    """The results of a sweep's runs."""
    return sorted(sweep.glob("*/result.json"))


def judged(folder: Path) -> Run:
    """A finished run, its checkpoints judged on fresh episodes."""
    result = json.loads((folder / "result.json").read_text())
    words = result["overrides"]
    chosen = tuple(word for word in words if not word.startswith(("seed=", "env=")))
    best, last = (
        judge(folder / "checkpoints" / name, EPISODES, JUDGE_SEED, [])["mean"]
        for name in ("best", "last")
    )
    minutes = result["seconds"]["total"] / 60
    return Run(
        result["env"],
        chosen,
        result["seed"],
        result["steps"],
        best,
        last,
        float(read_curve(folder, "").returns.mean()),
        result["best"]["step"],
        minutes,
    )


def by_seed(runs: list[Run]) -> str:
    """One row for each seed, then the interquartile mean over seeds with its interval."""
    lines = ["| seed | best | last | found at step | minutes |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {run.seed} | {run.best:.1f} | {run.last:.1f} | {run.found:,} | {run.minutes:.1f} |"
        for run in runs
    ]
    best, last = [run.best for run in runs], [run.last for run in runs]
    lines.append(f"| **IQM** | **{interval(best)}** | {interval(last)} | | |")
    lines.append(f"| worst | {min(best):.1f} | {min(last):.1f} | | |")
    return "\n".join(lines) + "\n"


def by_choice(choices: dict[str, list[Run]]) -> str:
    """One row for each choice: interquartile means over seeds with intervals, and the worst."""
    lines = [
        "| choice | seeds | best, IQM | worst | last, IQM | worst | mean of the curve, IQM |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    baseline = choices.get(BASELINE, next(iter(choices.values())))
    for choice, runs in choices.items():
        best, last, curve = (
            beside([getattr(run, name) for run in runs], [getattr(run, name) for run in baseline])
            for name in ("best", "last", "curve")
        )
        lines.append(
            f"| {choice} | {len(runs)} | {best} | {min(run.best for run in runs):.1f}"
            f" | {last} | {min(run.last for run in runs):.1f} | {curve} |"
        )
    return "\n".join(lines) + "\n"


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
