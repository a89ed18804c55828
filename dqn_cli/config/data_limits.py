"""Settings that make no sense with logged data, or without."""

from __future__ import annotations

from dqn_cli.agent.clock import Unit
from dqn_cli.replay.rollouts import Rollout
from dqn_cli.training.settings import Settings


def data_conflict(settings: Settings) -> str | None:
    """Return why settings of data make no sense and what would, or None if they do."""
    data = settings.data
    if not settings.steps and (data.path is None or not data.pretrain):
        return (
            "steps=0 is not valid without data: it must be a whole number of at least 1, or"
            " data=PATH data.pretrain=N learns from data alone"
        )
    if data.path is None:
        return "data.pretrain=N needs data=PATH to learn from" if data.pretrain else None
    if isinstance(settings.replay, Rollout):
        return "replay=rollout learns from the latest steps, not from data: use replay=uniform"
    if settings.init_replay:
        return (
            "init_replay=true brings another run's replay, and so does data=PATH: use one of them"
        )
    if not data.share:
        return "data.share=0 leaves no logged sample in a batch: set a share above 0, or no data"
    if data.pretrain and getattr(settings.target, "unit", None) is Unit.episodes:
        return (
            "target.unit=episodes never copies during data.pretrain, which has no episodes: use"
            " target.unit=updates"
        )
    return None
