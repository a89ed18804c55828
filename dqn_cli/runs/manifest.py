"""Run manifest: settings of a run, written before training so that any run can be resumed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dqn_cli.agent.clock import Clock
from dqn_cli.runs.checkpoints import CHECKPOINTS_DIR, load_last
from dqn_cli.runs.recorder import Job
from dqn_cli.storage import load_checkpoint, save_checkpoint
from dqn_cli.training.devices import thread_count
from dqn_cli.training.settings import plain

MANIFEST = Path(".hydra") / "plan"  # in the run's folder


def write_manifests(jobs: Sequence[Job]) -> None:
    """Write a manifest for each job of a group that is about to train."""
    group = [job.folder.name for job in jobs]
    for job in jobs:
        if job.resumes or not (job.folder / MANIFEST).parent.is_dir():
            continue  # without a `.hydra` folder, a run can't be resumed
        data = {
            "settings": plain(job.settings),
            "together": group,
            "clock": tuple(Clock()),
            "stream": {},
            # Runs that resume in a sweep share the cores, as a group does.
            "threads": thread_count(job.settings, len(jobs) + 1),
        }
        save_checkpoint(job.folder / MANIFEST, data)


def has_checkpoint(run: Path) -> bool:
    """Return True if a run has a checkpoint to resume from."""
    return (run / CHECKPOINTS_DIR / "last").is_file()


def is_unstarted(run: Path) -> bool:
    """Return True if a run has a manifest but was never started."""
    return (run / MANIFEST).is_file() and not (run / CHECKPOINTS_DIR).exists()


def can_resume(run: Path) -> bool:
    """Return True if a run has a checkpoint or a manifest."""
    return has_checkpoint(run) or (run / MANIFEST).is_file()


def load_state(run: Path) -> dict[str, Any]:
    """Load a run's latest checkpoint, or its manifest before the first checkpoint.

    Raises:
        CheckpointError: The run has neither.
    """
    if (run / MANIFEST).is_file() and not has_checkpoint(run):
        return load_checkpoint(run / MANIFEST)
    return load_last(run)
