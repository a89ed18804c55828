"""One training job: a run of its own, or one of a sweep."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from dqn_cli.commands.command_line import import_all, next_command
from dqn_cli.config.errors import explain
from dqn_cli.config.run_folders import Refused
from dqn_cli.config.validation import settings_from
from dqn_cli.evaluation.tables import figure
from dqn_cli.runs.recorder import Job
from dqn_cli.runs.session import Interrupted, train_alone


def run_job(config: DictConfig, modules: Sequence[str]) -> float | None:
    """Trains and returns the best mean return, which sweepers maximise."""
    import_all(modules)  # a launcher may have started this process anew
    hydra = HydraConfig.get()
    in_sweep = hydra.mode is RunMode.MULTIRUN
    folder = Path(hydra.runtime.output_dir)
    overrides = list(hydra.overrides.task)
    if in_sweep:
        print(f"job {hydra.job.num}: {' '.join(overrides)}", flush=True)
    try:
        result = train_alone(Job(settings_from(config), shown(folder), overrides))
    except Interrupted as interrupted:
        print(how_to_go_on(shown(folder), [config.env.id]), flush=True)
        if in_sweep:
            print("jobs behind it did not begin: start those by another sweep", flush=True)
        sys.exit(interrupted.exit_code)
    except Exception as error:
        if in_sweep:
            # Hydra tells of a failed job only when all others are done.
            print(f"job {hydra.job.num} failed: {explain(error)}", file=sys.stderr, flush=True)
            raise
        raise Refused from error
    print(closing_words(result, shown(folder)), flush=True)
    best = result["best"]
    return best["mean"] if best else None


def shown(folder: Path) -> Path:
    """A folder as the user would type it: relative to where the command was given, if inside."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) else folder


def closing_words(result: dict[str, Any], folder: Path) -> str:
    """What a finished run came to, and what to type next."""
    lines = [f"finished {result['steps']:,} steps in {result['seconds']['total']:,.0f} s"]
    for name in ("best", "final"):
        if summary := result[name]:
            mean, low, high = map(figure, (summary["mean"], *summary["mean_ci95"]))
            lines.append(
                f"{name}: mean return {mean} [{low}, {high}] over"
                f" {summary['episodes']} greedy episodes at step {summary['step']:,}"
            )
    judge = next_command("dqn-eval", f"checkpoint={folder}", [result["env"]])
    lines.append(f"look at it:  {shlex.join(['tensorboard', '--logdir', str(folder)])}")
    lines.append(f"draw it:     {shlex.join(['dqn-plot', str(folder)])}")
    lines.append(f"judge it:    {judge}")
    return "\n".join(lines)


def how_to_go_on(folder: Path, env_ids: Iterable[str]) -> str:
    """What to type after a signal, to go on with what is in a folder."""
    return f"interrupted; go on with: {next_command('dqn-train', f'resume={folder}', env_ids)}"
