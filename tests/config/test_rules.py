from __future__ import annotations

from collections.abc import Callable

from dqn_cli.config.rules import first_conflict
from dqn_cli.training.settings import Settings


def test_the_first_rule_that_is_broken_gives_the_reason(
    settings_of: Callable[..., Settings],
) -> None:
    settings, asked = settings_of(), list[Settings]()

    def kept(own: Settings) -> None:
        asked.append(own)

    assert first_conflict(settings, [kept, lambda _: "first", lambda _: "second"]) == "first"
    assert first_conflict(settings, [kept]) is None
    assert asked == [settings, settings]
