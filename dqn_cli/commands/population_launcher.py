"""A sweep as populations: `hydra/launcher=population` trains its jobs side by side."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, run_job, setup_globals
from hydra.types import HydraContext
from omegaconf import DictConfig, open_dict

from dqn_cli.commands.job import how_to_go_on, shown
from dqn_cli.commands.population_groups import announce, available_processes, train_groups
from dqn_cli.config.errors import explain
from dqn_cli.config.validation import ConfigError, settings_from
from dqn_cli.runs.grouping import grouped
from dqn_cli.runs.recorder import Job
from dqn_cli.runs.result import read_result
from dqn_cli.runs.session import TrainingFailure


def launch(
    context: HydraContext,
    config: DictConfig,
    job_overrides: Sequence[Sequence[str]],
    first: int,
    processes: Any,
    members: Any,
) -> list[JobReturn]:
    """Trains jobs in groups of at most `members`, `processes` at once; `first` is a number.

    A job that fails is told of in what is returned; a signal raises SystemExit. Raises ConfigError
    if `processes` is neither `auto` nor a number, or `members` is none.
    """
    _check("processes", processes, or_auto=True)
    _check("members", members)
    setup_globals()
    planned = [
        _planned(context, config, first + index, overrides)
        for index, overrides in enumerate(job_overrides)
    ]
    begun = [each for each in planned if each.status is JobStatus.COMPLETED]
    jobs = [job._replace(folder=shown(job.folder)) for job in (each.return_value for each in begun)]
    if processes == "auto":
        processes = available_processes(jobs[0].settings.threads) if jobs else 1
    groups = grouped(jobs, processes, members)
    announce(groups, processes)
    exit_code = train_groups(groups, processes)
    for each, job in zip(begun, jobs, strict=True):
        _take_result(each, job)
    if exit_code:
        envs = [job.settings.env.id for job in jobs]
        print(how_to_go_on(shown(Path(config.hydra.sweep.dir)), envs))
        sys.exit(exit_code)
    return planned


def _check(key: str, value: Any, or_auto: bool = False) -> None:
    if not (isinstance(value, int) and value >= 1) and not (or_auto and value == "auto"):
        right = f"{'auto or ' if or_auto else ''}a whole number of at least 1"
        raise ConfigError(f"hydra.launcher.{key}={value} is not valid: it must be {right}")


def _planned(
    context: HydraContext, config: DictConfig, number: int, overrides: Sequence[str]
) -> JobReturn:
    """A job with its folder, as Hydra prepares one; it has not begun."""

    def plan(composed: DictConfig) -> Job:
        hydra = HydraConfig.get()
        folder, typed = Path(hydra.runtime.output_dir), list(hydra.overrides.task)
        print(f"job {number}: {' '.join(typed)}")
        try:
            return Job(settings_from(composed), folder, typed, number)
        except Exception as error:
            print(f"job {number} failed: {explain(error)}", file=sys.stderr, flush=True)
            raise

    composed = context.config_loader.load_sweep_config(config, list(overrides))
    with open_dict(composed):
        composed.hydra.job.id = composed.hydra.job.num = number
    return run_job(plan, composed, "hydra.sweep.dir", "hydra.sweep.subdir", context)


def _take_result(planned: JobReturn, job: Job) -> None:
    """Makes what a job's result.json says Hydra's own result: its best mean, or its error."""
    result = read_result(job.folder) or {}
    if result.get("status") == "finished":
        planned.return_value = result["best"] and result["best"]["mean"]
    else:
        planned.status = JobStatus.FAILED
        reason = result.get("error") or "its process ended without a result"
        planned.return_value = TrainingFailure(f"job {job.number}: {reason}")
