"""result.json: the outcome of a run, for programs to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from dqn_cli.runs.early_stopping import stop_reason
from dqn_cli.runs.metrics_tracker import MetricsTracker
from dqn_cli.runs.provenance import git_commit, versions
from dqn_cli.training.loop import Run
from dqn_cli.training.settings import Settings, plain

RESULT = "result.json"
SCHEMA = 1


def read_result(run: Path) -> dict[str, Any] | None:
    """Return the contents of a run's result.json, or None if there is no such file yet."""
    file = run / RESULT
    return json.loads(file.read_text()) if file.is_file() else None


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
    stopped = stop_reason(settings.stop, tracker.evaluations)
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
    }


def unstarted_result(
    settings: Settings, overrides: Sequence[str], status: str, error: str | None
) -> dict[str, Any]:
    """Return the result of a run that failed before its first step."""
    return {
        "schema": SCHEMA,
        "status": status,
        "error": error,
        "env": settings.env.id,
        "preprocess": plain(settings.env.preprocess),
        "seed": settings.seed,
        "overrides": list(overrides),
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
        "versions": versions(),
        "git_commit": git_commit(),
    }
