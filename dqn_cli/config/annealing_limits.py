"""Numbers that can't be annealed as they are set."""

from __future__ import annotations

from dqn_cli.agent.annealing import Shape
from dqn_cli.agent.clock import Unit
from dqn_cli.config.rules import first_conflict
from dqn_cli.replay.rollouts import Rollout
from dqn_cli.training.settings import Settings


def annealing_conflict(settings: Settings) -> str | None:
    """Return why numbers can't be annealed and what would do, or None if they can."""
    return first_conflict(settings, (_unreachable_annealing, _unknown_number_of_updates))


def _unreachable_annealing(settings: Settings) -> str | None:
    gamma, n_step, lr = settings.anneal.gamma, settings.anneal.n_step, settings.anneal.lr
    for name in ("n_step", "updates_per_train"):
        start = getattr(settings.anneal, name).start
        if start is not None and (start < 1 or start != int(start)):
            return f"anneal.{name}.start={start:g} must be a whole number of at least 1"
    is_factor = gamma.shape is Shape.exponential
    if gamma.start is not None and (gamma.start > 1 or (is_factor and gamma.start == 1)):
        return (
            f"anneal.gamma.start={gamma.start:g} must be below 1, or 1 with"
            " anneal.gamma.shape=linear"
        )
    if gamma.start is not None and is_factor and settings.gamma == 1:
        return "gamma=1 is not reached by equal factors: use anneal.gamma.shape=linear"
    if n_step.start is not None and isinstance(settings.replay, Rollout):
        return "anneal.n_step is for stored transitions: use replay=uniform, or its start=null"
    if lr.start == 0 and lr.shape is Shape.exponential:
        return "anneal.lr.start=0 changes by no factor: use anneal.lr.shape=linear"
    return None


def _unknown_number_of_updates(settings: Settings) -> str | None:
    start, exploration = settings.anneal.updates_per_train.start, settings.exploration
    if start is None:
        return None
    if not settings.steps:
        return (
            "steps=0 takes data.pretrain updates one after the other, and has no trainings: use"
            " anneal.updates_per_train.start=null"
        )
    counts_updates = getattr(exploration, "unit", None) is Unit.updates
    if counts_updates and getattr(exploration, "duration", 2) <= 1:
        return (
            "exploration.duration is a share of all updates, whose number is not known with"
            " anneal.updates_per_train: use exploration.unit=steps, or a duration above 1"
        )
    return None
