"""One training job: a single run, or one of a sweep."""

from __future__ import annotations

import shlex
import signal
import sys
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from dqn_cli.commands.command_line import import_modules, note_modules, shell_command
from dqn_cli.commands.continuation import check_job_number, continue_typed, run_status
from dqn_cli.config.current_command import Refused, Sweep
from dqn_cli.config.errors import explain
from dqn_cli.config.run_metadata import job_number
from dqn_cli.config.validation import ConfigError, settings_from
from dqn_cli.evaluation.tables import format_return
from dqn_cli.loggers.logger import check_installed
from dqn_cli.runs.job import Job
from dqn_cli.runs.launched_jobs import launched_job
from dqn_cli.runs.locks import InUse
from dqn_cli.runs.manifest import can_resume, note_failure, write_manifests
from dqn_cli.runs.outcomes import Interrupted
from dqn_cli.runs.result import read_result, write_unstarted_result
from dqn_cli.runs.scores import TRAINING
from dqn_cli.runs.signals import PREEMPTED, hand_over
from dqn_cli.runs.single_run import train_alone


def run_job(
    config: DictConfig, modules: Sequence[str], changes: Sequence[str] | None = None
) -> float | None:
    """Train and return the best mean return, which sweepers maximise.

    A job whose folder holds it already goes on: a launcher may start the same job again.

    Args:
        config: The composed configuration.
        modules: The user's own modules.
        changes: Overrides of a sweep that is resumed, whose failed jobs are left alone; None for a
            new command.

    Raises:
        Interrupted: A signal ended the job of another process, to tell the launcher.
        SystemExit: A signal ended a job of this process.
        Refused: A single run failed.
    """
    import_modules(modules)  # a launcher may have started a new process
    hydra = HydraConfig.get()
    in_sweep = hydra.mode is RunMode.MULTIRUN
    folder = relative_to_cwd(Path(hydra.runtime.output_dir))
    overrides = list(hydra.overrides.task)
    number = job_number(folder, hydra.job.num) if in_sweep else 0
    job = None
    is_launched = in_sweep and Sweep.folder is None  # in a process of its own
    if in_sweep:
        print(f"job {number}: {' '.join(overrides)}", flush=True)
    try:
        settings = settings_from(config)
        check_installed(settings.logger, settings.video)
        note_modules(settings.modules.values())
        job = Job(settings, folder, overrides, number)
        if in_sweep:
            check_job_number(job)
        with launched_job(Path(hydra.sweep.dir)) if is_launched else nullcontext() as shutdown:
            result = _train(job, modules, changes, bool(shutdown and shutdown.requested))
    except Interrupted as interrupted:
        if not in_sweep:
            print(resume_hint(folder, [config.env.id]), flush=True)
        if interrupted.exit_code == PREEMPTED:
            hand_over()
        if is_launched:
            raise
        sys.exit(interrupted.exit_code)
    except Exception as error:
        if not in_sweep:
            raise Refused from error
        _report_failure(job, folder, number, error)
        raise
    best = result["best"] if result else None
    return best["mean"] if best else None


def _report_failure(job: Job | None, folder: Path, number: int, error: Exception) -> None:
    """Note why a job of a sweep failed, and print it; Hydra tells only after all others."""
    reason = explain(error)
    if job and not can_resume(folder) and not isinstance(error, (ConfigError, InUse)):
        write_unstarted_result(job.settings, job.overrides, folder, reason)
    elif not isinstance(error, InUse):  # the folder belongs to another process
        note_failure(folder, reason)
    print(f"job {number} failed: {reason}", file=sys.stderr, flush=True)


def _train(
    job: Job, modules: Sequence[str], changes: Sequence[str] | None, stopped: bool
) -> dict[str, Any] | None:
    """Train a job, or the rest of the run that its folder holds, and return its result."""
    run = continue_typed(job, changes or (), modules)
    if run and (run.is_finished or (changes is not None and run_status(job.folder) == "failed")):
        if run.is_finished:
            print(run.finished_text(f"resume={job.folder} "), flush=True)
        return read_result(job.folder)
    if run:
        job = run.job
    if stopped:
        write_manifests([job])
        write_unstarted_result(job.settings, job.overrides, job.folder, None)
        raise Interrupted(128 + signal.SIGTERM)
    result = train_alone(job)
    print(result_text(result, job.folder), flush=True)
    return result


def relative_to_cwd(folder: Path) -> Path:
    """Return the path relative to the working folder if it is inside, as the user would type it.

    With hydra.job.chdir the job has another working folder than the user; then it is absolute.
    """
    cwd = Path.cwd()
    if HydraConfig.initialized() and Path(HydraConfig.get().runtime.cwd) != cwd:
        return folder
    return folder.relative_to(cwd) if folder.is_relative_to(cwd) else folder


def result_text(result: dict[str, Any], folder: Path) -> str:
    """Return the scores of a finished run and the commands to type next."""
    made = f"{result['steps']:,} steps" if result["steps"] else f"{result['updates']:,} updates"
    lines = [f"finished {made} in {result['seconds']['total']:,.0f} s"]
    for name in ("best", "final"):
        if summary := result[name]:
            mean, low, high = map(format_return, (summary["mean"], *summary["mean_ci95"]))
            kind = "training" if summary.get("by") == TRAINING else "greedy"
            lines.append(
                f"{name}: mean return {mean} [{low}, {high}] over"
                f" {summary['episodes']} {kind} episodes at step {summary['step']:,}"
            )
    evaluation = shell_command("dqn-eval", f"checkpoint={folder}", [result["env"]])
    if any(folder.glob("events.*")):
        lines.append(f"look at it:   {shlex.join(['tensorboard', '--logdir', str(folder)])}")
        lines.append(f"draw it:      {shlex.join(['dqn-plot', str(folder)])}")
    lines.append(f"evaluate it:  {evaluation}")
    return "\n".join(lines)


def resume_hint(folder: Path, env_ids: Iterable[str]) -> str:
    """Return the command that resumes an interrupted run or sweep."""
    return f"interrupted; go on with: {shell_command('dqn-train', f'resume={folder}', env_ids)}"
