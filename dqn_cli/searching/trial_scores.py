"""Scores of runs, and where the run of a trial stands."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from statistics import fmean

from dqn_cli.evaluation.curves import read_curve
from dqn_cli.runs.early_stopping import is_pause
from dqn_cli.runs.result import read_result

Objective = Enum("Objective", ["final", "best", "mean"])


class Standing(Enum):
    """Where a run stands."""

    open = "open"  # not begun, or not at its step yet
    done = "done"
    failed = "failed"


def standing(run: Path, step: int | None) -> Standing:
    """Return where a run stands that is to pause at a step, or to go to its end if that is None."""
    result = read_result(run)
    if result is None or result["status"] == "interrupted":
        return Standing.open
    if result["status"] == "failed":
        return Standing.failed
    is_done = not is_pause(result.get("stopped")) or (step is not None and result["steps"] >= step)
    return Standing.done if is_done else Standing.open


def run_score(run: Path, objective: Objective) -> float:
    """Return the score of a run: the mean return of its final or best evaluation, or of all."""
    if objective is Objective.mean:
        return float(read_curve(run, "").returns.mean())
    result = read_result(run) or {}
    return float(result[objective.name]["mean"])


def trial_score(runs: Sequence[Path], objective: Objective) -> float:
    """Return the mean score of a trial's runs."""
    return fmean(run_score(run, objective) for run in runs)
