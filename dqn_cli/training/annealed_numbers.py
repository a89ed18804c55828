"""Annealed numbers of a run, at each round of updates."""

from __future__ import annotations

from dqn_cli.agent.annealing import Annealing
from dqn_cli.agent.clock import Clock
from dqn_cli.training.settings import Settings


def changes_returns(settings: Settings) -> bool:
    """Return whether gamma or the number of rewards in a return changes."""
    return any(_changes(each) for each in (settings.anneal.gamma, settings.anneal.n_step))


def current_gamma(settings: Settings, now: Clock, began: Clock) -> float:
    """Return gamma, where learning began at a clock; its distance to 1 is annealed."""
    passed = _passed(settings, now, began)
    return settings.anneal.gamma.value(settings.gamma, passed, _length(settings), limit=1)


def current_n_step(settings: Settings, now: Clock, began: Clock) -> int:
    """Return the number of rewards in a return, rounded."""
    passed, own = _passed(settings, now, began), settings.replay.n_step
    return round(settings.anneal.n_step.value(own, passed, _length(settings)))


def current_updates(settings: Settings, now: Clock, began: Clock) -> int:
    """Return the number of updates in a training, rounded."""
    annealing, own = settings.anneal.updates_per_train, settings.updates_per_train
    if not _changes(annealing):
        return own
    return round(annealing.value(own, _passed(settings, now, began), _length(settings)))


def lr_factor(settings: Settings, now: Clock, began: Clock, share: float) -> float:
    """Return the factor of `optimizer.lr` when a share of the run is over."""
    factor, optimizer = settings.optimizer.schedule.factor(share), settings.optimizer
    if not _changes(settings.anneal.lr):
        return factor
    passed = _passed(settings, now, began)
    lr = settings.anneal.lr.value(optimizer.lr, passed, _length(settings))
    return factor * lr / optimizer.lr


def _changes(annealing: Annealing) -> bool:
    return annealing.start is not None


def _passed(settings: Settings, now: Clock, began: Clock) -> int:
    """Return the steps since learning began or, if it was later, since the last reset was due.

    A reset comes after the updates of its step. Without steps, updates count.
    """
    if not settings.steps:
        return now.updates
    every = settings.reset.every
    before = max(now.steps - settings.env.num_envs, 0)
    last_reset = before // every * every if every else 0
    return max(now.steps - max(began.steps, last_reset), 0)


def _length(settings: Settings) -> int:
    return settings.steps or settings.data.pretrain
