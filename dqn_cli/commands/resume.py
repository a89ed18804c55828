"""Resuming: `dqn-train resume=FOLDER` continues an interrupted run or sweep in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dqn_cli.agent.clock import Clock
from dqn_cli.agent.exploration import Annealed
from dqn_cli.commands.job import result_text, resume_hint
from dqn_cli.commands.population_groups import (
    available_processes,
    group_title,
    print_groups,
    train_groups,
)
from dqn_cli.commands.sweep_tables import report_sweep
from dqn_cli.config import run_metadata
from dqn_cli.config.stored_settings import stored_settings
from dqn_cli.policies import check_env_module
from dqn_cli.runs.early_stopping import is_over, stop_reason, stored_evaluations
from dqn_cli.runs.grouping import group_key
from dqn_cli.runs.locks import lock_runs
from dqn_cli.runs.manifest import can_resume, has_checkpoint, load_state
from dqn_cli.runs.recorder import Job
from dqn_cli.runs.result import read_result
from dqn_cli.runs.session import Interrupted, TrainingFailure, train_alone
from dqn_cli.runs.startup import Checkpoint
from dqn_cli.training.settings import Settings


def resume(folder: Path, overrides: Sequence[str], modules: Sequence[str]) -> int:
    """Continue a run or sweep and return the exit code.

    A run goes on from checkpoints/last, or starts if it was stopped before its first checkpoint.
    """
    runs = [run for run in sorted(folder.glob("*/")) if can_resume(run)]
    if runs and not can_resume(folder):
        return _resume_sweep(folder, runs, overrides, modules)
    data = load_state(folder)
    job = _load_job(folder, data, overrides, modules)
    if _is_finished(job, data):
        print(_finished_text(job, data))
        return 0
    try:
        result = train_alone(job)
    except Interrupted as interrupted:
        print(resume_hint(folder, [job.settings.env.id]))
        return interrupted.exit_code
    print(result_text(result, folder))
    return 0


def _resume_sweep(
    folder: Path, runs: Sequence[Path], overrides: Sequence[str], modules: Sequence[str]
) -> int:
    """Continue the interrupted runs of a sweep in groups; a failed run must be named itself."""
    groups: dict[Any, list[Job]] = {}
    threads = 1
    for run in runs:
        if _status(run) == "failed":
            continue
        data = load_state(run)
        job = _load_job(run, data, overrides, modules)
        steps, updates, _ = data["clock"]
        threads = max(threads, data["threads"])
        # A killed process may have left its members' checkpoints at different steps.
        stored = int(data["stream"].get("appends", 0))
        position = (job.resumes, steps, updates, stored)
        key = (*data["together"], group_key(job.settings), *position)
        if not _is_finished(job, data):
            groups.setdefault(key, []).append(job)
    if not groups:
        print(f"every run in {folder} is finished or has failed; steps=N goes on to more")
        return 0
    with lock_runs([job.folder for group in groups.values() for job in group]):
        pass  # if another process trains one of them, nothing is written
    ordered = [sorted(group, key=lambda job: job.number) for group in groups.values()]
    print_groups(ordered, processes := available_processes(threads))
    try:
        exit_code = train_groups(ordered, processes)
    finally:
        report_sweep(folder)
    if exit_code:
        print(resume_hint(folder, [job.settings.env.id for group in ordered for job in group]))
        return exit_code
    jobs = [job for group in ordered for job in group]
    failed = [job for job in jobs if _status(job.folder) != "finished"]
    if failed:
        raise TrainingFailure(f"{group_title(failed)} failed; the table above has the others")
    return 0


def _is_finished(job: Job, data: Checkpoint) -> bool:
    """Return True if the run needs neither training nor its last evaluation."""
    is_done = is_over(job.settings, Clock(*data["clock"]), stored_evaluations(data))
    return is_done and _status(job.folder) != "interrupted"


def _finished_text(job: Job, data: Checkpoint) -> str:
    """Return a line that says why the run is finished and what goes on."""
    text = f"{job.folder} is finished after {Clock(*data['clock']).steps:,} steps"
    reason = stop_reason(job.settings.stop, stored_evaluations(data))
    if reason is None:
        return f"{text}; steps=N goes on to more"
    return f"{text}: {reason}; {reason.partition('=')[0]}=null goes on"


def _status(run: Path) -> str | None:
    result = read_result(run)
    return result["status"] if result else None


def _load_job(folder: Path, data: Any, overrides: Sequence[str], modules: Sequence[str]) -> Job:
    """Return the job of a stored run, with the overrides applied."""
    stored = stored_settings(data["settings"])
    settings = keep_schedule(stored, stored_settings(data["settings"], overrides))
    check_env_module(settings, modules)
    result = read_result(folder)
    stored_overrides = result["overrides"] if result else run_metadata.load_overrides(folder)
    return Job(
        settings,
        folder,
        [*stored_overrides, *overrides],
        run_metadata.load_job_number(folder),
        resumes=has_checkpoint(folder),
    )


def keep_schedule(stored: Settings, resumed: Settings) -> Settings:
    """Return the resumed settings with the stored length of epsilon's schedule.

    A duration of at most 1 is a fraction of the run, and the resumed run may be longer.
    """
    exploration = stored.exploration
    if isinstance(exploration, Annealed) and exploration.duration <= 1 and resumed != stored:
        length = exploration.duration * stored.horizon.reading(exploration.unit)
        return replace(resumed, exploration=replace(exploration, duration=max(length, 1.0 + 1e-9)))
    return resumed
