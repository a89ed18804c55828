"""Print finished sweeps of recipes as a Markdown table.

python benchmarks/recipes.py outputs/SWEEP [outputs/SWEEP ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from dqn_cli.commands.run_discovery import RunInfo, load_runs, run_label, varied_keys
from dqn_cli.evaluation.statistics import ENOUGH_SEEDS, interquartile_mean, iqm_interval
from dqn_cli.evaluation.tables import format_return
from dqn_cli.runs.result import read_result

LAST_EPISODES = "rollout/ep_rew_mean"


def main() -> None:
    print("| runs | seeds | best greedy return | greedy in the end | training | steps |")
    print("| --- | --- | --- | --- | --- | --- |")
    for sweep in map(Path, sys.argv[1:]):
        runs = [run for run in load_runs(sweep, "recipes.py", ()) if is_finished(run)]
        varied = varied_keys(runs)
        labels = [run_label(run, varied) for run in runs]
        for label in dict.fromkeys(labels):
            group = [run for run, other in zip(runs, labels, strict=True) if other == label]
            print(row(f"{sweep.name} {label}".strip(), group))


def is_finished(run: RunInfo) -> bool:
    result = read_result(run.folder)
    return result is not None and result["status"] == "finished"


def row(name: str, runs: list[RunInfo]) -> str:
    results = [result for run in runs if (result := read_result(run.folder))]
    best = [result["best"]["mean"] for result in results]
    final = [result["final"]["mean"] for result in results]
    rolling = [last_rolling_return(run.folder) for run in runs]
    steps = int(np.mean([result["steps"] for result in results]))
    cells = (interval(values) for values in (best, final, rolling))
    return f"| {name} | {len(runs)} | {' | '.join(cells)} | {steps:,} |"


def interval(values: list[float]) -> str:
    middle = format_return(float(interquartile_mean(np.array(values))))
    if len(values) < ENOUGH_SEEDS:
        return f"{middle} ({format_return(min(values))} to {format_return(max(values))})"
    low, high = iqm_interval(values)
    return f"{middle} [{format_return(low)}, {format_return(high)}]"


def last_rolling_return(folder: Path) -> float:
    """Return the mean return of the last 100 training episodes."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    return float(events.Scalars(LAST_EPISODES)[-1].value)


if __name__ == "__main__":
    main()
