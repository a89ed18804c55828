"""Launcher `hydra/launcher=population`: train the jobs of a sweep side by side."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from dqn_cli.commands.command_line import note_modules
from dqn_cli.commands.continuation import (
    Continuation,
    check_job_number,
    continue_typed,
    folders_by_number,
    groups_of,
    regroup,
    run_status,
)
from dqn_cli.commands.job import relative_to_cwd
from dqn_cli.commands.population_engines import connect, open_engine
from dqn_cli.commands.population_groups import print_groups, train_groups
from dqn_cli.commands.population_options import read_options
from dqn_cli.config.current_command import Command
from dqn_cli.config.errors import explain
from dqn_cli.config.run_metadata import job_number
from dqn_cli.config.validation import settings_from
from dqn_cli.loggers.logger import check_installed
from dqn_cli.runs.grouping import group_jobs
from dqn_cli.runs.job import Job
from dqn_cli.runs.locks import InUse
from dqn_cli.runs.manifest import note_failure
from dqn_cli.runs.outcomes import TrainingFailure
from dqn_cli.runs.result import read_result


def launch(
    context: HydraContext,
    config: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    first: int,
    values: Mapping[str, Any],
) -> list[JobReturn]:
    """Train the jobs of a sweep in groups.

    Args:
        context: Hydra's loader of configurations.
        config: Configuration of the sweep.
        job_overrides: Overrides of each job.
        first: Number of the first job.
        values: Keys of `hydra.launcher`.

    Returns:
        What Hydra's launchers return for each job: its best mean return, or its error.

    Raises:
        ConfigError: A key is not valid, or there is no such cluster.
        ImportError: The package of a cluster is not installed.
        SystemExit: After a signal.
    """
    options = read_options(values)
    connect(options, Command.stack)
    setup_globals()
    list_folders = cache(folders_by_number)  # once, not for every job
    returns = [
        _prepare_job(context, config, first + index, overrides, list_folders)
        for index, overrides in enumerate(job_overrides)
    ]
    prepared = [job_return for job_return in returns if job_return.status is JobStatus.COMPLETED]
    pairs = [_with_short_paths(job_return.return_value) for job_return in prepared]
    jobs = [pair.job for pair in pairs]
    threads = jobs[0].settings.threads if jobs else "auto"
    engine = open_engine(options, threads, Path(config.hydra.sweep.dir))
    size = engine.parallel, options.members
    left_alone = [bool(pair.stored and _is_left_alone(pair.stored)) for pair in pairs]
    kept = [pair.stored for pair, alone in zip(pairs, left_alone, strict=True) if not alone]
    begun = [run for run in kept if run]
    groups = groups_of(run for run in begun if not run.goes_beyond_pause)
    groups += regroup((run for run in begun if run.goes_beyond_pause), *size)
    groups += group_jobs([pair.job for pair in pairs if not pair.stored], *size)
    exit_code = 0
    if groups:
        print_groups(groups, engine)
        exit_code = train_groups(groups, engine)
    for job_return, job, is_old in zip(prepared, jobs, left_alone, strict=True):
        _set_result(job_return, job, is_old)
    if exit_code:
        sys.exit(exit_code)
    return returns


class Prepared(NamedTuple):
    """A job that has not started, and the run that its folder holds already."""

    job: Job
    stored: Continuation | None


def _prepare_job(
    context: HydraContext,
    config: DictConfig,
    number: int,
    overrides: Sequence[str],
    list_folders: Callable[[Path], Mapping[int, Sequence[Path]]],
) -> JobReturn:
    """Let Hydra compose a job and create its folder; `return_value` is a `Prepared`."""

    def make_job(composed: DictConfig) -> Prepared:
        hydra = HydraConfig.get()
        folder = Path(hydra.runtime.output_dir)
        number = job_number(folder, hydra.job.num)
        job_overrides = list(hydra.overrides.task)
        print(f"job {number}: {' '.join(job_overrides)}")
        try:
            settings = settings_from(composed)
            check_installed(settings.logger, settings.video)
            note_modules(settings.modules.values())
            job = Job(settings, folder, job_overrides, number)
            check_job_number(job, list_folders)
            return Prepared(job, continue_typed(job, Command.changes or (), Command.modules))
        except Exception as error:
            reason = explain(error)
            if not isinstance(error, InUse):
                note_failure(folder, reason)
            print(f"job {number} failed: {reason}", file=sys.stderr, flush=True)
            raise

    composed = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(composed):
        composed.hydra.job.id, composed.hydra.job.num = str(number), number
    returned = run_job(make_job, composed, "hydra.sweep.dir", "hydra.sweep.subdir", context)
    returned.cfg = returned.hydra_cfg = None  # of thousands of jobs they would fill the memory
    return returned


def _with_short_paths(pair: Prepared) -> Prepared:
    job, stored = pair
    job = job._replace(folder=relative_to_cwd(job.folder))
    if stored:
        stored = stored._replace(job=stored.job._replace(folder=job.folder))
    return Prepared(job, stored)


def _is_left_alone(run: Continuation) -> bool:
    """Return True for a finished run, and in a sweep that is resumed for a failed one."""
    is_resumed = Command.changes is not None
    return run.is_finished or (is_resumed and run_status(run.job.folder) == "failed")


def _set_result(job_return: JobReturn, job: Job, is_old: bool) -> None:
    """Copy the best mean or the error of a job's result.json to Hydra's result.

    An old job was not trained by this command, so its failure is not an error again.
    """
    result = read_result(job.folder) or {}
    if is_old or result.get("status") == "finished":
        job_return.return_value = result.get("best") and result["best"]["mean"]
    else:
        job_return.status = JobStatus.FAILED
        reason = result.get("error") or "its process ended without a result"
        job_return.return_value = TrainingFailure(f"job {job.number}: {reason}")
