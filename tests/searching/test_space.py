from __future__ import annotations

import pytest

from dqn_cli.searching.space import Choice, Decimal, Space, Whole, first_words, is_short, typed_word


@pytest.mark.parametrize(
    ("value", "word"),
    [(0.00123456, "k=0.001235"), (1e-7, "k=1e-07"), (3, "k=3"), (2000, "k=2000"), ("[8]", "k=[8]")],
)
def test_values_are_typed_with_few_digits(value: float | int | str, word: str) -> None:
    assert typed_word("k", value) == word


def test_the_first_words_of_a_space_are_its_lowest_numbers_and_first_choices() -> None:
    domains = {"lr": Decimal(0.1, 1.0), "n": Whole(2, 9), "widths": Choice(("[8]", "[9]"))}
    assert first_words(Space(domains)) == ["lr=0.1", "n=2", "widths=[8]"]


def test_short_numbers_are_the_same_when_they_are_typed() -> None:
    assert all(map(is_short, (0.1, 1e-7, 0.9999, 20_000, 123_456, 0.9 + 0.05)))
    assert not any(map(is_short, (0.99999, 1234.5, float("nan"), float("inf"))))
