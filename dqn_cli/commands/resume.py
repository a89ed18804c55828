"""dqn-train resume=RUN: goes on with an interrupted run, or a whole sweep, in its own folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from dqn_cli.agent.clock import Clock
from dqn_cli.agent.exploration import Linear
from dqn_cli.commands.job import closing_words, how_to_go_on
from dqn_cli.commands.population_groups import announce, available_processes, title_of, train_groups
from dqn_cli.commands.sweep_tables import report_sweep
from dqn_cli.config import run_metadata
from dqn_cli.config.stored_settings import stored_settings
from dqn_cli.policies import check_imported
from dqn_cli.runs.grouping import structure
from dqn_cli.runs.locks import locked
from dqn_cli.runs.manifest import can_resume, has_checkpoint, load_state
from dqn_cli.runs.recorder import Job
from dqn_cli.runs.result import read_result
from dqn_cli.runs.session import Interrupted, TrainingFailure, train_alone
from dqn_cli.training.loop import finished
from dqn_cli.training.settings import Settings


def resume(folder: Path, overrides: Sequence[str], modules: Sequence[str]) -> int:
    """Continues from checkpoints/last, or begins what was stopped before there was one.

    A run that is finished says so.
    """
    runs = [run for run in sorted(folder.glob("*/")) if can_resume(run)]
    if runs and not can_resume(folder):
        return _resume_sweep(folder, runs, overrides, modules)
    data = load_state(folder)
    job = _job(folder, data, overrides, modules)
    clock = Clock(*data["clock"])
    if _is_over(job, clock):
        print(f"{folder} is finished after {clock.steps:,} steps; steps=N goes on to more")
        return 0
    try:
        result = train_alone(job)
    except Interrupted as interrupted:
        print(how_to_go_on(folder, [job.settings.env.id]))
        return interrupted.exit_code
    print(closing_words(result, folder))
    return 0


def _resume_sweep(
    folder: Path, runs: Sequence[Path], overrides: Sequence[str], modules: Sequence[str]
) -> int:
    """Goes on with each run that was interrupted, side by side with those of its group.

    One that has failed is resumed by its own name alone.
    """
    groups: dict[Any, list[Job]] = {}
    threads = 1
    for run in runs:
        if _status(run) == "failed":
            continue
        data = load_state(run)
        job = _job(run, data, overrides, modules)
        steps, updates, _ = data["clock"]
        threads = max(threads, data["threads"])
        # A killed process may have left its members' checkpoints at different steps.
        stored = int(data["stream"].get("appends", 0))
        where = (job.resumes, steps, updates, stored)
        together = (*data["together"], structure(job.settings), *where)
        if not _is_over(job, Clock(*data["clock"])):
            groups.setdefault(together, []).append(job)
    if not groups:
        print(f"every run in {folder} is finished or has failed; steps=N goes on to more")
        return 0
    with locked([job.folder for group in groups.values() for job in group]):
        pass  # all of them are there to be gone on with, or nothing is written
    in_order = [sorted(group, key=lambda job: job.number) for group in groups.values()]
    announce(in_order, processes := available_processes(threads))
    try:
        exit_code = train_groups(in_order, processes)
    finally:
        report_sweep(folder)
    if exit_code:
        print(how_to_go_on(folder, [job.settings.env.id for group in in_order for job in group]))
        return exit_code
    jobs = [job for group in in_order for job in group]
    failed = [job for job in jobs if _status(job.folder) != "finished"]
    if failed:
        raise TrainingFailure(f"{title_of(failed)} failed; the table above has the others")
    return 0


def _is_over(job: Job, clock: Clock) -> bool:
    """Whether nothing is left to do; one that was interrupted at its end is still to be judged."""
    return finished(job.settings, clock) and _status(job.folder) != "interrupted"


def _status(run: Path) -> str | None:
    result = read_result(run)
    return result["status"] if result else None


def _job(folder: Path, data: Any, overrides: Sequence[str], modules: Sequence[str]) -> Job:
    """The run that stands where `data` says, with the changes that are typed now."""
    before = stored_settings(data["settings"])
    settings = with_schedule_of(before, stored_settings(data["settings"], overrides))
    check_imported(settings, modules)
    result = read_result(folder)
    words = [*(result["overrides"] if result else run_metadata.overrides(folder)), *overrides]
    return Job(
        settings, folder, words, run_metadata.job_number(folder), resumes=has_checkpoint(folder)
    )


def with_schedule_of(before: Settings, now: Settings) -> Settings:
    """`now` with epsilon's schedule as long as it was, though the run may be longer."""
    exploration = before.exploration
    if isinstance(exploration, Linear) and exploration.duration <= 1 and now != before:
        length = exploration.duration * before.horizon.reading(exploration.unit)
        return replace(now, exploration=replace(exploration, duration=max(length, 1.0 + 1e-9)))
    return now
