"""Text of unknown origin, made fit for a terminal."""

from __future__ import annotations

LONGEST_LINE = 2000


def one_line(text: object) -> str:
    r"""Return a text as one line without control characters, which appear as `\x1b`."""
    line = " ".join(_as_text(text).split())
    shown = line if line.isprintable() else "".join(map(_printable, line))
    return shown if len(shown) <= LONGEST_LINE else f"{shown[: LONGEST_LINE - 3]}..."


def error_text(error: Exception) -> str:
    """Return type and text of an error in one line."""
    return f"{type(error).__name__}: {one_line(error)}"


def _as_text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # an exception of the user's may have a faulty __str__
        return ""


def _printable(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape").decode()
