"""Progress of a run: how far its clocks are, and what is due between two of them."""

from __future__ import annotations

from collections.abc import Sequence

from dqn_cli.agent.clock import Clock, Unit, crossings
from dqn_cli.training.settings import Settings


def progress(settings: Settings, clock: Clock) -> float:
    """Return the share of the run that is over, by steps or by episodes, whichever is larger.

    A run without steps goes by its updates.
    """
    if not settings.steps:
        return clock.updates / settings.data.pretrain
    by_episodes = clock.episodes / settings.episodes if settings.episodes else 0.0
    return max(clock.steps / settings.steps, by_episodes)


def position(settings: Settings, clock: Clock) -> int:
    """Return the count that periods go by: steps, or updates in a run without steps."""
    return clock.steps if settings.steps else clock.updates


def is_finished(settings: Settings, clock: Clock) -> bool:
    """Return whether the run has taken all its steps or episodes."""
    return progress(settings, clock) >= 1


def advance(clocks: Sequence[Clock], ended: Sequence[Sequence[bool]]) -> list[Clock]:
    """Return the members' clocks after a step of their environments."""
    return [
        Clock(steps + len(env_ended), updates, episodes + sum(env_ended))
        for (steps, updates, episodes), env_ended in zip(clocks, ended, strict=True)
    ]


def is_lockstep(settings: Sequence[Settings]) -> bool:
    """Return whether schedules and periods are the same for all members, at any time."""
    first, parts = settings[0], ("steps", "target", "exploration")
    units = {getattr(part, "unit", None) for part in (first.target, first.exploration)}
    if Unit.episodes in units or any(member.episodes is not None for member in settings):
        return False
    return all(
        getattr(member, part) == getattr(first, part) for member in settings for part in parts
    )


def recycling_due(settings: Settings, before: Clock, now: Clock) -> bool:
    """Return whether dormant units are reinitialized; never before the first update."""
    every = settings.reset.dormant
    return every is not None and now.updates > 0 and crossings(before.steps, now.steps, every) > 0


def reset_due(settings: Settings, before: Clock, now: Clock) -> bool:
    """Return whether the last layers are reset."""
    every = settings.reset.every
    return every is not None and crossings(before.steps, now.steps, every) > 0
