"""Settings that make no sense with an ensemble of heads, or without one."""

from __future__ import annotations

from dqn_cli.agent.ensembles import Ensemble
from dqn_cli.replay.rollouts import Rollout
from dqn_cli.training.settings import Settings


def ensemble_conflict(settings: Settings) -> str | None:
    """Return why settings of ensembles make no sense and what would, or None if they do."""
    is_ensemble = isinstance(settings.head, Ensemble)
    if settings.exploration.follows_heads and not is_ensemble:
        return (
            "exploration=bootstrapped follows one head of an ensemble in each episode: use"
            " head=ensemble, or exploration=linear"
        )
    if is_ensemble and isinstance(settings.replay, Rollout):
        return (
            "head=ensemble bootstraps each head from itself, and replay=rollout has one return for"
            " all of them: use replay=uniform, or head=scalar"
        )
    return None
