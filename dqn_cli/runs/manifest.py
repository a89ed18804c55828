"""Plans: what runs are to be, noted before they begin; a run may be stopped before it saves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dqn_cli.agent.clock import Clock
from dqn_cli.runs.checkpoints import FOLDER, load_last
from dqn_cli.runs.recorder import Job
from dqn_cli.storage import load_checkpoint, save_checkpoint
from dqn_cli.training.build_run import thread_count
from dqn_cli.training.settings import plain

MANIFEST = Path(".hydra") / "plan"  # of a run


def write_manifests(jobs: Sequence[Job]) -> None:
    """Notes what each of the jobs, which are about to train side by side, is to be."""
    together = [job.folder.name for job in jobs]
    for job in jobs:
        if job.resumes or not (job.folder / MANIFEST).parent.is_dir():
            continue  # a folder that Hydra was told to keep no notes in can't be gone on with
        data = {
            "settings": plain(job.settings),
            "together": together,
            "clock": tuple(Clock()),
            "stream": {},
            "threads": thread_count(job.settings, len(jobs) + 1),  # if it begins beside others
        }
        save_checkpoint(job.folder / MANIFEST, data)


def has_checkpoint(run: Path) -> bool:
    """Whether a run has a checkpoint to go on from."""
    return (run / FOLDER / "last").is_file()


def has_not_begun(run: Path) -> bool:
    """Whether a run that was to be trained has not begun."""
    return (run / MANIFEST).is_file() and not (run / FOLDER).exists()


def can_resume(run: Path) -> bool:
    """Whether a folder says enough of a run to go on with it, or to begin it."""
    return has_checkpoint(run) or (run / MANIFEST).is_file()


def load_state(run: Path) -> dict[str, Any]:
    """Where a run stands: its checkpoint, or before the first one its plan, which has no weights.

    Raises CheckpointError if it has neither.
    """
    planned = not has_checkpoint(run) and (run / MANIFEST).is_file()
    return load_checkpoint(run / MANIFEST) if planned else load_last(run)
