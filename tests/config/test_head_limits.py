from __future__ import annotations

import pytest
from test_combinations import Compose, check_conflict

# Words that are refused, what the message names, and words that each put it right.
REFUSED = [
    (
        "head=c51 head.v_min=5 head.v_max=5",
        ["head=c51", "v_min below v_max", "they are 5 and 5"],
        ["head.v_min=4", "head.v_max=6"],
    ),
    (
        "head=c51 head.v_min=0.5 head.v_max=-2",
        ["head=c51", "v_min below v_max", "they are 0.5 and -2"],
        ["head.v_min=-3", "head.v_max=1"],
    ),
    (
        "head=iqn network=table",
        ["head=iqn", "Table", "network=mlp", "head=qr"],
        ["network=mlp", "head=qr"],
    ),
    (
        "head=expectile head.atoms=3",
        ["head=expectile", "odd", "at least 5", "there are 3"],
        ["head.atoms=5"],
    ),
    (
        "head=expectile head.atoms=8",
        ["head=expectile", "odd", "at least 5", "there are 8"],
        ["head.atoms=9"],
    ),
    (
        "head=expectile update.rescale=true",
        ["update.rescale=true", "expectiles", "head=qr", "update.rescale=false"],
        ["head=qr", "update.rescale=false"],
    ),
    (
        "head=fqf network=table",
        ["head=fqf", "Table", "network=mlp", "head=qr"],
        ["network=mlp", "head=qr"],
    ),
]


@pytest.mark.parametrize(("words", "named", "remedies"), REFUSED, ids=[row[0] for row in REFUSED])
def test_a_conflict_names_its_settings_and_remedies_that_are_accepted(
    settings_of: Compose, words: str, named: list[str], remedies: list[str]
) -> None:
    check_conflict(settings_of, words, named, remedies)
