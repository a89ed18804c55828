"""Settings that make no sense with a head."""

from __future__ import annotations

from dqn_cli.agent.categorical import C51
from dqn_cli.agent.expectiles import Expectile
from dqn_cli.agent.fractions import Fqf
from dqn_cli.agent.quantiles import Iqn
from dqn_cli.config.rules import first_conflict
from dqn_cli.training.settings import Settings


def head_conflict(settings: Settings) -> str | None:
    """Return why a head does not go with other settings and what would, or None if it does."""
    rules = (_empty_support, _rescaled_support, _expectile_limits, _levels_without_features)
    return first_conflict(settings, rules)


def _empty_support(settings: Settings) -> str | None:
    head = settings.head
    if isinstance(head, C51) and head.v_min >= head.v_max:
        return f"head=c51 needs v_min below v_max; they are {head.v_min:g} and {head.v_max:g}"
    return None


def _rescaled_support(settings: Settings) -> str | None:
    if settings.update.rescale and isinstance(settings.head, C51):
        return (
            "update.rescale=true squashes the atoms of values, and those of head=c51 are fixed: use"
            " head=qr, or update.rescale=false"
        )
    return None


def _expectile_limits(settings: Settings) -> str | None:
    head = settings.head
    if not isinstance(head, Expectile):
        return None
    if head.atoms < 5 or head.atoms % 2 == 0:
        return (
            "head=expectile needs an odd number of head.atoms, at least 5, whose middle one is the"
            f" mean; there are {head.atoms}"
        )
    if settings.update.rescale:
        return (
            "update.rescale=true squashes returns, and expectiles of squashed returns are not those"
            " of returns: use head=qr, or update.rescale=false"
        )
    return None


def _levels_without_features(settings: Settings) -> str | None:
    if isinstance(settings.head, Iqn | Fqf) and not settings.network.has_features:
        name = "iqn" if isinstance(settings.head, Iqn) else "fqf"
        return (
            f"head={name} combines its quantile levels with a network's features, and"
            f" {type(settings.network).__name__} has none: use network=mlp or head=qr"
        )
    return None
