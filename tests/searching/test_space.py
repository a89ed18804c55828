from __future__ import annotations

import pytest

from dqn_cli.searching.space import typed_word


@pytest.mark.parametrize(
    ("value", "word"),
    [(0.00123456, "k=0.001235"), (1e-7, "k=1e-07"), (3, "k=3"), (2000, "k=2000"), ("[8]", "k=[8]")],
)
def test_values_are_typed_with_few_digits(value: float | int | str, word: str) -> None:
    assert typed_word("k", value) == word
