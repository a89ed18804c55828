"""Judges every seed of finished sweeps on fresh episodes and prints the tables of docs/results.md.

python benchmarks/results.py outputs/SWEEP [outputs/SWEEP ...]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from dqn_cli.evaluation.statistics import bootstrap_interval, interquartile_mean
from dqn_cli.policies import judge

EPISODES = 100
JUDGE_SEED = 12345


def main() -> None:
    for sweep in map(Path, sys.argv[1:]):
        print(table(sweep))


def table(sweep: Path) -> str:
    """One row for each seed, then the interquartile mean over seeds with its interval."""
    runs = sorted(
        (json.loads((run / "result.json").read_text())["seed"], run)
        for run in sweep.iterdir()
        if (run / "result.json").is_file()
    )
    results = [json.loads((run / "result.json").read_text()) for _, run in runs]
    means = {
        name: np.array(
            [judge(run / "checkpoints" / name, EPISODES, JUDGE_SEED, [])["mean"] for _, run in runs]
        )
        for name in ("best", "last")
    }
    lines = [
        f"### {results[0]['env']}, {results[0]['steps']:,} steps",
        "",
        "| seed | best | last | found at step | minutes |",
        "| --- | --- | --- | --- | --- |",
    ]
    for index, ((seed, _), result) in enumerate(zip(runs, results, strict=True)):
        minutes = result["seconds"]["total"] / 60
        best, last = means["best"][index], means["last"][index]
        lines.append(
            f"| {seed} | {best:.1f} | {last:.1f} | {result['best']['step']:,} | {minutes:.1f} |"
        )
    cells = []
    for values in means.values():
        low, high = bootstrap_interval(values, interquartile_mean)
        cells.append(f"{interquartile_mean(values):.1f} [{low:.1f}, {high:.1f}]")
    lines.append(f"| **IQM** | **{cells[0]}** | {cells[1]} | | |")
    lines.append(f"| worst | {means['best'].min():.1f} | {means['last'].min():.1f} | | |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
