"""Run manifest: settings of a run, written before training so that any run can be resumed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from dqn_cli.agent.clock import Clock
from dqn_cli.fields import damage_named
from dqn_cli.runs.checkpoint_fields import check_manifest
from dqn_cli.runs.checkpoints import CHECKPOINTS_DIR, load_last
from dqn_cli.runs.job import Job
from dqn_cli.runs.result import RESULT, read_result
from dqn_cli.storage import (
    CheckpointError,
    load_checkpoint,
    save_checkpoint,
    temporary_name,
    write_atomically,
)
from dqn_cli.training.devices import thread_count
from dqn_cli.training.settings import plain

HYDRA_FOLDER = Path(".hydra")
HYDRA_FILES = ("config.yaml", "hydra.yaml", "overrides.yaml")
MANIFEST = HYDRA_FOLDER / "plan"  # in the run's folder
FAILURE = HYDRA_FOLDER / "failure"  # why a job of a sweep has neither manifest nor result


def write_manifests(jobs: Sequence[Job]) -> None:
    """Write a manifest for each job of a group that is about to train."""
    group = [job.folder.name for job in jobs]
    for job in jobs:
        _remove_partial_files(job.folder)
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


def note_failure(job: Path, reason: str) -> None:
    """Note why a job of a sweep failed whose settings could not be used, so it has no result."""
    if (job / HYDRA_FOLDER).is_dir() and not holds_run(job):
        write_atomically(job / FAILURE, lambda file: file.write(reason.encode()))


def noted_failure(job: Path) -> str | None:
    """Return why a job failed before it had settings, or None if it did not."""
    if (job / MANIFEST).is_file() or not (job / FAILURE).is_file():
        return None
    return (job / FAILURE).read_text(errors="replace")


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
        CheckpointError: The run has neither, or the file is damaged.
    """
    return load_last(run) if has_checkpoint(run) else load_begun(run)


def load_begun(run: Path) -> dict[str, Any]:
    """Load a run's manifest, or its latest checkpoint if it has none: how the run was begun."""
    if not (run / MANIFEST).is_file():
        return load_last(run)
    data = load_checkpoint(run / MANIFEST)
    with damage_named(run / MANIFEST):
        check_manifest(data)
    return data


def holds_run(folder: Path) -> bool:
    """Return True if a folder holds a run that a new one must not overwrite.

    A run is worth keeping once it can be resumed, has a checkpoint, or did more than fail at
    its first step.
    """
    checkpoints = folder / CHECKPOINTS_DIR
    if any(any(checkpoints.glob(name)) for name in ("best", "last", "step_*")):
        return True
    try:
        result = read_result(folder)
    except CheckpointError:  # damaged, and so not ours to throw away
        return True
    if result is not None:
        return result["status"] != "failed" or bool(result.get("steps"))
    return (folder / MANIFEST).is_file()


def discard_unstarted(folder: Path) -> None:
    """Remove what a run left that ended before it began, so that a new one may take the folder.

    Only files that a run writes before its first step are removed.
    """
    if holds_run(folder):
        return
    _remove_partial_files(folder)
    files = (*(HYDRA_FOLDER / file for file in HYDRA_FILES), MANIFEST, FAILURE, Path(RESULT))
    for name in files:
        (folder / name).unlink(missing_ok=True)
    for empty in (folder / HYDRA_FOLDER, folder / CHECKPOINTS_DIR):
        with suppress(OSError):  # it has other files
            empty.rmdir()


def discard_job(folder: Path) -> None:
    """Remove what a job of a sweep left that ended before it began, and its folder if empty."""
    discard_unstarted(folder)
    with suppress(OSError):
        folder.rmdir()


def _remove_partial_files(run: Path) -> None:
    """Remove files that a killed process did not finish writing."""
    for path in (run / MANIFEST, run / RESULT):
        for partial in path.parent.glob(temporary_name(path.name, "*")):
            partial.unlink(missing_ok=True)
