"""result.json: the outcome of a run, for programs to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from dqn_cli.fields import damage_named, items, mapping, number, text
from dqn_cli.runs.early_stopping import stop_reason
from dqn_cli.runs.metrics_tracker import MetricsTracker
from dqn_cli.runs.provenance import git_commit, versions
from dqn_cli.storage import load_json, write_json
from dqn_cli.training.loop import Run
from dqn_cli.training.progress import position
from dqn_cli.training.settings import Settings, plain

RESULT = "result.json"
SCHEMA = 1


def read_result(run: Path) -> dict[str, Any] | None:
    """Return the contents of a run's result.json, or None if there is no such file yet.

    Raises:
        CheckpointError: The file is damaged.
    """
    file = run / RESULT
    if not file.is_file():
        return None
    result = load_json(file)
    with damage_named(file):
        _check(result)
    return result


def _check(result: dict[str, Any]) -> None:
    mapping(result, "", ("status", "overrides", "seconds", "best"))
    text(result["status"], "status")
    items(result["overrides"], "overrides", text)
    number(mapping(result["seconds"], "seconds", ("total",))["total"], "seconds.total", 0)
    if result["best"] is not None:
        best = mapping(result["best"], "best", ("mean", "mean_ci95"))
        number(best["mean"], "best.mean")
        items(best["mean_ci95"], "best.mean_ci95", number, 2)


def member_result(
    settings: Settings,
    run: Run,
    member: int,
    tracker: MetricsTracker,
    overrides: Sequence[str],
    status: str,
    error: str | None,
    compiled: bool,
) -> dict[str, Any]:
    """Return the result of a member that is finished, interrupted or failed."""
    seconds, clock = tracker.seconds, run.clocks[member]
    stopped = stop_reason(settings.stop, tracker.evaluations, position(settings, clock))
    return unstarted_result(settings, overrides, status, error) | {
        "steps": clock.steps,
        "episodes": clock.episodes,
        "updates": clock.updates,
        "seconds": {
            "total": sum(seconds.values()),
            "train": seconds["train"],
            "eval": seconds["eval"],
            "compile": seconds["compile"],
        },
        "compile": compiled,
        "members": len(run.clocks),
        "exact": run.exact[member],
        "device": str(run.learner.state.parameters.device),
        "final": tracker.final,
        "best": tracker.best,
        "stopped": stopped if status == "finished" else None,
        "data": run.data.plain() if run.data else None,
    }


def result_summary(result: Mapping[str, Any]) -> dict[str, float | str]:
    """Return the outcome of a run as flat numbers and words, such as `best/mean`."""
    summary = {key: result[key] for key in ("status", "steps", "episodes", "updates")}
    summary["seconds"] = result["seconds"]["total"]
    for name in ("best", "final"):
        if scores := result[name]:
            summary |= {f"{name}/{key}": scores[key] for key in ("mean", "step")}
    return summary


def write_unstarted_result(
    settings: Settings, overrides: Sequence[str], folder: Path, error: str | None
) -> None:
    """Write the result of a run that ended before its first step, unless it has a result.

    It failed with the `error`, or a signal ended it if that is None.
    """
    if not (folder / RESULT).exists():
        status = "interrupted" if error is None else "failed"
        write_json(folder / RESULT, unstarted_result(settings, overrides, status, error))


def unstarted_result(
    settings: Settings, overrides: Sequence[str], status: str, error: str | None
) -> dict[str, Any]:
    """Return the result of a run that ended before its first step."""
    return {
        "schema": SCHEMA,
        "status": status,
        "error": error,
        "env": settings.env.id,
        "preprocess": plain(settings.env.preprocess),
        "seed": settings.seed,
        "overrides": list(overrides),
        "tuned": settings.tuned,
        "steps": 0,
        "episodes": 0,
        "updates": 0,
        "seconds": {"total": 0.0, "train": 0.0, "eval": 0.0, "compile": 0.0},
        "compile": False,
        "members": 1,
        "exact": True,
        "threads": torch.get_num_threads(),
        "device": None,
        "final": None,
        "best": None,
        "stopped": None,
        "init": None,
        "data": None,
        "versions": versions(),
        "git_commit": git_commit(),
    }
