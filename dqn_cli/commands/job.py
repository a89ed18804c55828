"""One training job: a single run, or one of a sweep."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from dqn_cli.commands.command_line import import_modules, note_modules, shell_command
from dqn_cli.config.errors import explain
from dqn_cli.config.run_folders import Refused
from dqn_cli.config.validation import settings_from
from dqn_cli.evaluation.tables import format_return
from dqn_cli.runs.recorder import Job
from dqn_cli.runs.scores import TRAINING
from dqn_cli.runs.session import Interrupted, train_alone


def run_job(config: DictConfig, modules: Sequence[str]) -> float | None:
    """Train and return the best mean return, which sweepers maximise."""
    import_modules(modules)  # a launcher may have started a new process
    hydra = HydraConfig.get()
    in_sweep = hydra.mode is RunMode.MULTIRUN
    folder = Path(hydra.runtime.output_dir)
    overrides = list(hydra.overrides.task)
    if in_sweep:
        print(f"job {hydra.job.num}: {' '.join(overrides)}", flush=True)
    try:
        settings = settings_from(config)
        note_modules(settings.env.modules.values())
        result = train_alone(Job(settings, relative_to_cwd(folder), overrides))
    except Interrupted as interrupted:
        print(resume_hint(relative_to_cwd(folder), [config.env.id]), flush=True)
        if in_sweep:
            print("later jobs did not start; train them with another sweep", flush=True)
        sys.exit(interrupted.exit_code)
    except Exception as error:
        if in_sweep:
            # Hydra reports a failed job only after all others.
            print(f"job {hydra.job.num} failed: {explain(error)}", file=sys.stderr, flush=True)
            raise
        raise Refused from error
    print(result_text(result, relative_to_cwd(folder)), flush=True)
    best = result["best"]
    return best["mean"] if best else None


def relative_to_cwd(folder: Path) -> Path:
    """Return the path relative to the working folder if it is inside, as the user would type it."""
    cwd = Path.cwd()
    return folder.relative_to(cwd) if folder.is_relative_to(cwd) else folder


def result_text(result: dict[str, Any], folder: Path) -> str:
    """Return the scores of a finished run and the commands to type next."""
    lines = [f"finished {result['steps']:,} steps in {result['seconds']['total']:,.0f} s"]
    for name in ("best", "final"):
        if summary := result[name]:
            mean, low, high = map(format_return, (summary["mean"], *summary["mean_ci95"]))
            kind = "training" if summary.get("by") == TRAINING else "greedy"
            lines.append(
                f"{name}: mean return {mean} [{low}, {high}] over"
                f" {summary['episodes']} {kind} episodes at step {summary['step']:,}"
            )
    evaluation = shell_command("dqn-eval", f"checkpoint={folder}", [result["env"]])
    lines.append(f"look at it:   {shlex.join(['tensorboard', '--logdir', str(folder)])}")
    lines.append(f"draw it:      {shlex.join(['dqn-plot', str(folder)])}")
    lines.append(f"evaluate it:  {evaluation}")
    return "\n".join(lines)


def resume_hint(folder: Path, env_ids: Iterable[str]) -> str:
    """Return the command that resumes an interrupted run or sweep."""
    return f"interrupted; go on with: {shell_command('dqn-train', f'resume={folder}', env_ids)}"
