"""Ends of a run before its last step: by its greedy evaluations, or for a pause."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dqn_cli.agent.clock import Clock
from dqn_cli.training.progress import is_finished, position
from dqn_cli.training.settings import Settings, StopConfig

PAUSE = "stop.step="  # the word that is typed, and begins the reason of a pause


@dataclass
class EvaluationHistory:
    """Highest mean of a run's evaluations, and the number of evaluations since then."""

    best: float = -math.inf
    since_best: int = 0

    def record(self, mean: float) -> None:
        """Record an evaluation; only a strictly higher mean is a new best, and NaN never is."""
        is_best = mean > self.best
        self.best = mean if is_best else self.best
        self.since_best = 0 if is_best else self.since_best + 1


def stop_reason(config: StopConfig, history: EvaluationHistory, steps: int = 0) -> str | None:
    """Return why a run is over before its last step, or None if it goes on."""
    return _evaluation_reason(config, history) or (
        f"{PAUSE}{config.step} reached" if _is_at_pause(config, steps) else None
    )


def is_pause(stopped: str | None) -> bool:
    """Return True if the reason of a run's end, as its result has it, is a pause."""
    return (stopped or "").startswith(PAUSE)


def is_paused(settings: Settings, clock: Clock, history: EvaluationHistory) -> bool:
    """Return True if nothing but `stop.step` keeps a run from going on."""
    ends = is_finished(settings, clock) or _evaluation_reason(settings.stop, history) is not None
    return not ends and _is_at_pause(settings.stop, position(settings, clock))


def _is_at_pause(config: StopConfig, steps: int) -> bool:
    return config.step is not None and steps >= config.step


def _evaluation_reason(config: StopConfig, history: EvaluationHistory) -> str | None:
    if config.at is not None and history.best >= config.at:
        return f"stop.at={config.at:.10g} reached: {history.best:.6g}"
    if config.patience is not None and history.since_best >= config.patience:
        return (
            f"stop.patience={config.patience} reached: {history.since_best} evaluations in a row"
            f" without a mean above {history.best:.6g}"
        )
    return None


def stored_evaluations(checkpoint: Mapping[str, Any]) -> EvaluationHistory:
    """Return the history in a checkpoint; a run's manifest has none yet."""
    return EvaluationHistory(**checkpoint.get("tracker", {}).get("evaluations", {}))


def is_over(settings: Settings, clock: Clock, history: EvaluationHistory) -> bool:
    """Return True if the run has taken all its steps or episodes, or stops before."""
    reason = stop_reason(settings.stop, history, position(settings, clock))
    return is_finished(settings, clock) or reason is not None
