"""result.json: what a run came to, in one file for programs to read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from dqn_cli.training.loop import Run
from dqn_cli.training.provenance import git_commit, versions
from dqn_cli.training.settings import Settings
from dqn_cli.training.tracking import Tracker

RESULT = "result.json"
SCHEMA = 1


def result_of(
    settings: Settings,
    run: Run,
    member: int,
    tracker: Tracker,
    overrides: Sequence[str],
    status: str,
    error: str | None,
    compiled: bool,
) -> dict[str, Any]:
    """The result of a member that is finished, interrupted or failed."""
    seconds, clock = tracker.seconds, run.clocks[member]
    return {
        "schema": SCHEMA,
        "status": status,
        "error": error,
        "env": settings.env.id,
        "seed": settings.seed,
        "overrides": list(overrides),
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
        "threads": torch.get_num_threads(),
        "device": str(run.learner.state.parameters.device),
        "final": tracker.final,
        "best": tracker.best,
        "versions": versions(),
        "git_commit": git_commit(),
    }
