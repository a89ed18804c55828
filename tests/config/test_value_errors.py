from __future__ import annotations

import pytest

from dqn_cli.config.value_errors import value_error


@pytest.mark.parametrize(
    ("message", "right"),
    [
        ("Value 'x' is not a valid bool (type str)", "it must be true or false"),
        ("Invalid value '7', expected one of [relu, gelu]", "it must be one of relu, gelu"),
        (
            "Invalid type assigned: int is not a subclass of Annealing. value: 4",
            "it has keys of its own: start, duration, shape",
        ),
        ("Invalid type assigned: int is not a subclass of Nobody.", "it has keys of its own"),
        ("Something else", "Something else"),
    ],
)
def test_messages_say_what_would_be_right(message: str, right: str) -> None:
    assert value_error(message) == right


@pytest.mark.parametrize(("word", "kind"), [("a={b:1}", "list"), ("a=[1]", "mapping")])
def test_lists_and_mappings_are_told_apart_by_the_word(word: str, kind: str) -> None:
    assert f"must be a {kind}" in value_error("Cannot merge DictConfig with ListConfig", word)
