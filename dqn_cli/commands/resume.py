"""Resuming: `dqn-train resume=FOLDER` continues an interrupted run or sweep in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from dqn_cli.commands.continuation import (
    Continuation,
    groups_of,
    load_continuation,
    run_status,
    schedule_text,
)
from dqn_cli.commands.job import result_text, resume_hint
from dqn_cli.commands.population_engines import connect, open_engine
from dqn_cli.commands.population_groups import print_groups, train_groups
from dqn_cli.commands.population_options import PopulationOptions, stored_options
from dqn_cli.commands.population_work import group_title
from dqn_cli.commands.sweep_tables import report_sweep
from dqn_cli.config.run_metadata import is_run
from dqn_cli.config.stored_settings import stored_settings
from dqn_cli.config.validation import ConfigError
from dqn_cli.runs.locks import lock_runs
from dqn_cli.runs.manifest import can_resume
from dqn_cli.runs.outcomes import Interrupted, TrainingFailure
from dqn_cli.runs.single_run import train_alone
from dqn_cli.storage import CheckpointError


def resume(
    folder: Path,
    overrides: Sequence[str],
    modules: Sequence[str],
    more_follow: bool = False,
    launcher: Sequence[str] = (),
) -> int:
    """Continue a run or sweep and return the exit code.

    A run goes on from checkpoints/last, or starts if it was stopped before its first checkpoint.

    Args:
        folder: Folder of the run or sweep.
        overrides: Changes of settings.
        modules: The user's own modules.
        more_follow: True if other jobs of the sweep begin afterwards, which report for all.
        launcher: Words that change where the runs of a sweep train.

    Raises:
        CheckpointError: There is nothing to resume.
        TrainingFailure: A run failed.
    """
    runs = [run for run in sorted(folder.glob("*/")) if can_resume(run)]
    if (runs or more_follow) and not can_resume(folder):
        options = stored_options(folder, launcher)
        return _resume_sweep(folder, runs, overrides, modules, more_follow, options)
    if launcher:
        raise ConfigError(f"{launcher[0]} is for sweeps, and {folder} is a run")
    if is_run(folder) and not can_resume(folder):
        raise CheckpointError(
            f"can't resume: {folder} ended before its training began; type its command again"
        )
    run = load_continuation(folder, overrides, modules)
    if run.is_finished:
        print(run.finished_text())
        return 0
    _print_schedules(run)
    if run.job.resumes and run_status(folder) is None:
        print(f"{folder} was killed before it could write a result; it goes on all the same")
    try:
        result = train_alone(run.job)
    except Interrupted as interrupted:
        print(resume_hint(folder, [run.job.settings.env.id]))
        return interrupted.exit_code
    print(result_text(result, folder))
    return 0


def _resume_sweep(
    folder: Path,
    runs: Sequence[Path],
    overrides: Sequence[str],
    modules: Sequence[str],
    more_follow: bool,
    options: PopulationOptions,
) -> int:
    """Continue the interrupted runs of a sweep in groups; a failed run must be named itself."""
    begun = [
        load_continuation(run, overrides, modules) for run in runs if run_status(run) != "failed"
    ]
    unfinished = [run for run in begun if not run.is_finished]
    groups = groups_of(unfinished)
    if not groups:
        if not more_follow:
            print(f"every run in {folder} is finished or has failed; steps=N goes on to more")
        return 0
    with lock_runs([run.job.folder for run in unfinished]):
        pass  # if another process trains one of them, nothing is written
    _print_schedules(unfinished[0])
    threads = max(run.data["threads"] for run in unfinished)
    exit_code = 1
    try:
        with ExitStack() as stack:
            connect(options, stack)
            engine = open_engine(options, threads, folder)
            print_groups(groups, engine)
            exit_code = train_groups(groups, engine)
    finally:
        if exit_code or not more_follow:
            report_sweep(folder)
    jobs = [run.job for run in unfinished]
    if exit_code:
        print(resume_hint(folder, [job.settings.env.id for job in jobs]))
        return exit_code
    failed = [job for job in jobs if run_status(job.folder) != "finished"]
    if failed:
        if more_follow:
            report_sweep(folder)
        raise TrainingFailure(f"{group_title(failed)} failed; the table above has the others")
    return 0


def _print_schedules(run: Continuation) -> None:
    if text := schedule_text(stored_settings(run.data["settings"]), run.job.settings):
        print(text)
