from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from strange_inspections import config_of, inspected

from dqn_cli.checking.advice import find_all, has_error, is_trainable, training_words, verdict
from dqn_cli.checking.findings import Finding, Level
from dqn_cli.training.settings import Settings

ERROR = Finding(Level.error, "a")
MENDED = Finding(Level.error, "b", "c", ("network=multi",))
WARNING = Finding(Level.warning, "d")
ADVICE = Finding(Level.warning, "e", "f", ("env.drop=[x]", "eval.every=null"))
NOTE = Finding(Level.note, "g")


def test_errors_come_first_and_all_rules_are_asked(settings_of: Callable[..., Settings]) -> None:
    config = config_of("texts", kwargs={"at": 5})
    settings = replace(settings_of(), env=config)
    found = find_all(inspected(config), settings)
    assert [finding.level for finding in found] == [Level.warning, Level.note]
    broken = inspected(config)._replace(failure="it hangs")
    assert find_all(broken, settings)[0].level is Level.error


@pytest.mark.parametrize(
    ("found", "trainable", "errors", "told"),
    [
        ([], True, False, "ready to train:"),
        ([NOTE], True, False, "ready to train:"),
        ([WARNING], True, False, "with the warning above in mind:"),
        ([WARNING, WARNING], True, False, "with the 2 warnings above in mind:"),
        ([ADVICE], True, False, "with what this command adds:"),
        ([MENDED], True, True, "can't be trained as typed; this command can:"),
        ([ERROR, MENDED], False, True, "mend the 2 errors above"),
        ([ERROR], False, True, "mend the error above"),
    ],
)
def test_the_verdict_follows_from_the_findings(
    found: list[Finding], trainable: bool, errors: bool, told: str
) -> None:
    assert is_trainable(found) is trainable
    assert has_error(found) is errors
    assert told in verdict(found)


def test_advised_words_replace_those_that_were_typed() -> None:
    typed = ["env=Mine-v0", "+env.drop=[y]", "network=mlp", "+env.kwargs.k=1"]
    assert training_words(typed, [ADVICE, MENDED]) == [
        "env=Mine-v0",
        "+env.kwargs.k=1",
        "env.drop=[x]",
        "eval.every=null",
        "network=multi",
    ]
