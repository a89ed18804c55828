"""An inspection: every question about an environment, each asked in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib import import_module
from typing import Any

import gymnasium

from dqn_cli.checking.description import describe
from dqn_cli.checking.gymnasium_check import check_by_gymnasium
from dqn_cli.checking.repeats import copies_are_independent, repeats_seeds, runs_in_process
from dqn_cli.checking.seen import UNKNOWN, Answer, Description, Inspection, Trial
from dqn_cli.checking.tasks import Progress, TaskResult, run_task
from dqn_cli.checking.trial import try_out
from dqn_cli.envs.env_config import EnvConfig

TRIAL_SHARE, PATIENCE_SHARE = 0.3, 0.4  # of the time for an inspection
LEAST_PATIENCE = 2.0  # seconds, on a busy machine


def inspect_env(config: EnvConfig, dtype: str, seconds: float) -> Inspection:
    """Ask every question within some seconds; what is not answered by then is unknown."""
    tasks = _Tasks(seconds)
    _import_module(config.id)  # once, and not again in each process
    survey = run_task(partial(_survey, config, dtype, seconds * TRIAL_SHARE), tasks.patience)
    if survey.value is None:
        description = tasks.run(partial(describe, _alone(config))).value
        return _unfinished(description, None, survey.failure or "")
    description, trial = survey.value
    if trial is None or trial.failure:
        messages = () if config.is_native_vector else _gymnasium(tasks, config, trial)
        return _unfinished(description, trial, "")._replace(gymnasium=messages)
    config = _readable(config, description)
    if config.is_native_vector:
        reason = "a vector environment"
        return _unfinished(description, trial, "", reason)
    messages = _gymnasium(tasks, config, trial)
    repeats = _answer(tasks.run(partial(repeats_seeds, config, dtype, trial.records)))
    copies, independent = UNKNOWN, UNKNOWN
    result = tasks.run(partial(copies_are_independent, config, dtype, trial.records))
    if result.value is None:
        copies = Answer(False if tasks.has_time else None, result.failure or "")
    else:
        copies, independent = result.value
    if not repeats.is_yes:
        independent = UNKNOWN  # copies differ anyway
    result = tasks.run(partial(runs_in_process, config, dtype))
    in_process = _answer(result)
    if result.value is None and tasks.has_time:
        in_process = Answer(False, (result.failure or "").removeprefix(f"env={config.id}: "))
    return Inspection(description, trial, "", messages, repeats, copies, independent, in_process)


class _Tasks:
    """Runs tasks as long as there is time."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self.patience = max(seconds * PATIENCE_SHARE, LEAST_PATIENCE)

    @property
    def has_time(self) -> bool:
        """True before the end."""
        return time.monotonic() < self._end

    def run(self, task: Callable[[Progress], Any]) -> TaskResult:
        left = self._end - time.monotonic()
        if left <= 0:
            return TaskResult(failure="no time was left; seconds=60 gives more")
        return run_task(task, self.patience, left)


def _survey(
    config: EnvConfig, dtype: str, seconds: float, progress: Progress
) -> tuple[Description, Trial | None]:
    """Describe an environment, then try it out if that is possible."""
    description = describe(_alone(config), progress)
    if description.observation_error or description.action_error:
        return description, None
    return description, try_out(_readable(config, description), dtype, seconds, progress)


def _alone(config: EnvConfig) -> EnvConfig:
    """Return the configuration of one environment in this process, or of a vector."""
    return config if config.is_native_vector else replace(config.in_one_process, num_envs=1)


def _readable(config: EnvConfig, description: Description) -> EnvConfig:
    """Return the configuration of one environment without the parts that no network reads."""
    return replace(_alone(config), drop=[*config.drop, *description.unread])


def _gymnasium(tasks: _Tasks, config: EnvConfig, trial: Trial | None) -> tuple[str, ...]:
    masked = trial is not None and trial.masked
    result = tasks.run(partial(check_by_gymnasium, config, masked))
    return () if result.value is None else tuple(result.value)


def _answer(result: TaskResult) -> Answer:
    return Answer(None, result.failure or "") if result.value is None else result.value


def _unfinished(
    description: Description | None, trial: Trial | None, failure: str, reason: str = ""
) -> Inspection:
    unknown = Answer(None, reason) if reason else UNKNOWN
    return Inspection(description, trial, failure, (), unknown, unknown, unknown, unknown)


def _import_module(env_id: str) -> None:
    """Import the module that an environment's class is in."""
    spec = gymnasium.registry.get(env_id.rpartition(":")[2])
    if spec is not None and isinstance(spec.entry_point, str):
        with suppress(Exception, SystemExit):
            import_module(spec.entry_point.partition(":")[0])
