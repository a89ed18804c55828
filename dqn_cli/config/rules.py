"""Rules about settings: each says why some make no sense and what would."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from dqn_cli.training.settings import Settings

Rule: TypeAlias = Callable[[Settings], str | None]


def first_conflict(settings: Settings, rules: Iterable[Rule]) -> str | None:
    """Return the reason of the first rule that settings break, or None if they keep all."""
    return next((reason for rule in rules if (reason := rule(settings))), None)
