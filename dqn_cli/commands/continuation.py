"""Continuation of stored runs: what goes on, what has finished, and which train together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from dqn_cli.agent.clock import Clock
from dqn_cli.agent.exploration import Annealed
from dqn_cli.agent.optimizers import Schedule
from dqn_cli.config import run_metadata
from dqn_cli.config.differences import check_same_run
from dqn_cli.config.stored_settings import stored_settings
from dqn_cli.config.validation import ConfigError
from dqn_cli.loggers.logger import check_installed
from dqn_cli.policies import check_modules
from dqn_cli.replay.prioritised import Prioritised
from dqn_cli.runs.early_stopping import PAUSE, is_over, stop_reason, stored_evaluations
from dqn_cli.runs.grouping import group_jobs, group_key
from dqn_cli.runs.job import Job
from dqn_cli.runs.manifest import (
    can_resume,
    discard_job,
    has_checkpoint,
    holds_run,
    load_state,
)
from dqn_cli.runs.result import read_result
from dqn_cli.runs.startup import Checkpoint
from dqn_cli.training.progress import position
from dqn_cli.training.settings import Settings

Position = tuple[bool, int, int, int]  # has a checkpoint, steps, updates, stored observations


class Continuation(NamedTuple):
    """A stored run that goes on, and the checkpoint or manifest that it goes on from."""

    job: Job
    data: Checkpoint

    @property
    def position(self) -> Position:
        """What runs of one group have in common; a killed process may have left them at several."""
        steps, updates, _ = self.data["clock"]
        return self.job.resumes, steps, updates, int(self.data["stream"].get("appends", 0))

    @property
    def goes_beyond_pause(self) -> bool:
        """True if the run paused, and goes on to another step now."""
        stop = self.data["settings"].get("stop") or {}
        return stop.get("step") not in (None, self.job.settings.stop.step)

    @property
    def is_finished(self) -> bool:
        """True if the run needs neither training nor its last evaluation."""
        clock = Clock(*self.data["clock"])
        is_done = is_over(self.job.settings, clock, stored_evaluations(self.data))
        result = read_result(self.job.folder)
        # A process may be killed at its last step, before it evaluates or writes a result.
        if not is_done or result is None or result["status"] == "interrupted":
            return False
        return bool(result.get("steps", clock.steps) == clock.steps)

    def finished_text(self, command: str = "") -> str:
        """Return a line that says why the run is finished and what goes on."""
        settings, history = self.job.settings, stored_evaluations(self.data)
        steps = position(settings, Clock(*self.data["clock"]))
        if not settings.steps:
            return f"{self.job.folder} is finished after {steps:,} updates from data"
        text = f"{self.job.folder} is finished after {steps:,} steps"
        reason = stop_reason(self.job.settings.stop, history, steps)
        if reason is None:
            return f"{text}; {command}steps=N goes on to more"
        return f"{text}: {reason}; {command}{reason.partition('=')[0]}=null goes on"


def run_status(run: Path) -> str | None:
    """Return the status in a run's result.json, or None before there is one."""
    result = read_result(run)
    return result["status"] if result else None


def load_continuation(
    folder: Path, overrides: Sequence[str], modules: Sequence[str]
) -> Continuation:
    """Return a stored run with the overrides applied.

    Raises:
        CheckpointError: The run can't be resumed.
        ConfigError: An override is not allowed, or a module is not named.
    """
    data = load_state(folder)
    stored = stored_settings(data["settings"])
    settings = keep_schedule(stored, stored_settings(data["settings"], overrides))
    if bool(stored.steps) != bool(settings.steps):
        raise ConfigError(
            f"{folder} has steps={stored.steps}: a run from data alone takes no steps when it is"
            " resumed, and no other run ends up without"
        )
    check_modules(settings, modules)
    check_installed(settings.logger, settings.video)
    result = read_result(folder)
    stored_overrides = result["overrides"] if result else run_metadata.load_overrides(folder)
    job = Job(
        settings,
        folder,
        [*stored_overrides, *overrides],
        run_metadata.load_job_number(folder),
        resumes=has_checkpoint(folder),
    )
    return Continuation(job, data)


def continue_typed(job: Job, changes: Sequence[str], modules: Sequence[str]) -> Continuation | None:
    """Return the run that a typed job's folder holds already, or None.

    A run that paused goes on to the pause that is typed now, or to its end.

    Args:
        job: The job that was typed.
        changes: Overrides of keys that may differ from the stored run.
        modules: The user's own modules.

    Raises:
        ConfigError: The folder, or the job's number in its sweep, belongs to another run.
    """
    if can_resume(job.folder):
        check_same_run(job.folder, job.settings, changes)
        known = [*modules, *job.settings.modules.values()]
        return _with_pause(load_continuation(job.folder, changes, known), job)
    return None


def _with_pause(run: Continuation, typed: Job) -> Continuation:
    """Return the run with the pause of the typed job, in its settings and overrides."""
    job, step = run.job, typed.settings.stop.step
    overrides = [word for word in job.overrides if not word.startswith(PAUSE)]
    overrides += [word for word in typed.overrides if word.startswith(PAUSE)]
    stop = replace(job.settings.stop, step=step)
    settings = replace(job.settings, stop=stop)
    return run._replace(job=job._replace(settings=settings, overrides=overrides))


def folders_by_number(sweep: Path) -> dict[int, list[Path]]:
    """Return the folders of a sweep's jobs by their numbers."""
    found: dict[int, list[Path]] = {}
    for folder in sorted(sweep.iterdir()):
        if (number := run_metadata.job_number(folder, -1)) >= 0:
            found.setdefault(number, []).append(folder)
    return found


def check_job_number(
    job: Job, list_folders: Callable[[Path], Mapping[int, Sequence[Path]]] = folders_by_number
) -> None:
    """Check that no other run of the sweep has the job's number.

    Args:
        job: The job, whose folder is there.
        list_folders: Lists the sweep's folder; pass a cached function to check many jobs.

    Raises:
        ConfigError: One has, so another sweep was begun in this folder.
    """
    for other in list_folders(job.folder.parent).get(job.number, ()):
        if other.name != job.folder.name and holds_run(other):
            begun, typed = (
                run_metadata.overrides_by_key(words)
                for words in (run_metadata.load_overrides(other), job.overrides)
            )
            discard_job(job.folder)
            key = next(key for key in [*begun, *typed, ""] if begun.get(key) != typed.get(key))
            raise ConfigError(
                f"{other} is job {job.number} of this sweep, with {key}={begun.get(key)}, not"
                f" {key}={typed.get(key)}: type the sweep as it was, or choose another folder"
            )


def groups_of(continuations: Iterable[Continuation]) -> list[list[Job]]:
    """Return the jobs that can train together; those of a group stay together, to the same bits."""
    groups: dict[Any, list[Job]] = {}
    for run in continuations:
        key = (*run.data["together"], group_key(run.job.settings), run.position)
        groups.setdefault(key, []).append(run.job)
    return [sorted(group, key=lambda job: job.number) for group in groups.values()]


def regroup(continuations: Iterable[Continuation], processes: int, members: int) -> list[list[Job]]:
    """Return new groups of runs that go on from the same step, without the places of others.

    A member learns what it would in its old group, up to rounding.
    """
    positions: dict[Any, list[Job]] = {}
    for run in continuations:
        key = (run.position, bool(run.data.get("compiled")))
        positions.setdefault(key, []).append(run.job)
    return [group for jobs in positions.values() for group in group_jobs(jobs, processes, members)]


def keep_schedule(stored: Settings, resumed: Settings) -> Settings:
    """Return the resumed settings with the stored length of epsilon's schedule.

    A duration of at most 1 is a fraction of the run, and the resumed run may be longer.
    """
    exploration = stored.exploration
    if isinstance(exploration, Annealed) and exploration.duration <= 1 and resumed != stored:
        length = exploration.duration * stored.horizon.reading(exploration.unit)
        return replace(resumed, exploration=replace(exploration, duration=max(length, 1.0 + 1e-9)))
    return resumed


def schedule_text(stored: Settings, resumed: Settings) -> str | None:
    """Return a line that says what the schedules of a run with another length do, or None."""
    if (stored.steps, stored.episodes) == (resumed.steps, resumed.episodes):
        return None
    follows = []
    if resumed.optimizer.schedule is Schedule.linear:
        follows.append("the learning rate")
    replay = resumed.replay
    if isinstance(replay, Prioritised) and replay.beta != replay.beta_end:
        follows.append("beta")
    text = f"steps={resumed.steps}"
    if stored.episodes != resumed.episodes:
        text = f"{text}, episodes={'null' if resumed.episodes is None else resumed.episodes}"
    text = f"{text}: epsilon keeps the schedule of the run as it was begun"
    if follows:
        verb = "follow" if len(follows) > 1 else "follows"
        text = f"{text}; {' and '.join(follows)} {verb} the new length"
    return text
