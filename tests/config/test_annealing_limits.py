from __future__ import annotations

import pytest
from test_combinations import ROLLOUT, Compose, check_conflict

# Words that are refused, what the message names, and words that each put it right.
REFUSED = [
    (
        "anneal.gamma.start=1",
        ["anneal.gamma.start=1", "below 1", "anneal.gamma.shape=linear"],
        ["anneal.gamma.start=0.9", "anneal.gamma.shape=linear"],
    ),
    (
        "anneal.gamma.start=0.5 gamma=1",
        ["gamma=1", "anneal.gamma.shape=linear"],
        ["anneal.gamma.shape=linear"],
    ),
    (
        "anneal.n_step.start=2.5",
        ["anneal.n_step.start=2.5", "whole number"],
        ["anneal.n_step.start=2"],
    ),
    (
        f"{ROLLOUT}anneal.n_step.start=2",
        ["anneal.n_step", "replay=uniform"],
        ["anneal.n_step.start=null"],
    ),
    (
        "anneal.updates_per_train.start=0",
        ["anneal.updates_per_train.start=0", "whole number"],
        ["anneal.updates_per_train.start=2"],
    ),
    (
        "anneal.updates_per_train.start=4 exploration.unit=updates",
        ["exploration.duration", "exploration.unit=steps"],
        ["exploration.unit=steps", "exploration.duration=100"],
    ),
    (
        "anneal.lr.start=0",
        ["anneal.lr.start=0", "anneal.lr.shape=linear"],
        ["anneal.lr.shape=linear", "anneal.lr.start=1e-9"],
    ),
]


@pytest.mark.parametrize(("words", "named", "remedies"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_conflict_names_its_settings_and_remedies_that_are_accepted(
    settings_of: Compose, words: str, named: list[str], remedies: list[str]
) -> None:
    check_conflict(settings_of, words, named, remedies)
