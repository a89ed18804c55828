from __future__ import annotations

import pytest

from dqn_cli.text import LONGEST_LINE, error_text, one_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("two\nlines\r\n and\ta tab", "two lines and a tab"),
        ("\x1b[31mred\x1b[0m", r"\x1b[31mred\x1b[0m"),
        ("nul\x00 bell\x07 right-to-left\u202e", r"nul\x00 bell\x07 right-to-left\u202e"),
        ("für 環境", "für 環境"),
        (ValueError("first\nsecond"), "first second"),
    ],
)
def test_control_characters_are_shown_and_not_sent(text: object, line: str) -> None:
    assert one_line(text) == line
    assert one_line(text).isprintable()


def test_what_has_no_text_is_an_empty_line() -> None:
    class Silent(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert one_line(Silent()) == ""


def test_a_long_text_is_cut() -> None:
    assert len(one_line("x" * 10 * LONGEST_LINE)) == LONGEST_LINE
    assert one_line("x" * LONGEST_LINE) == "x" * LONGEST_LINE


def test_an_error_is_shown_by_type_and_text_in_one_line() -> None:
    assert error_text(ValueError("two\nlines")) == "ValueError: two lines"
