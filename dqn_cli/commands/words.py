"""Words of the form key=value, checked before anything is read or written."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from dqn_cli.text import one_line

REPEATED = ("import",)


def check_plain_words(words: Sequence[str], values: Iterable[str] = ()) -> None:
    """Check words of any command.

    Args:
        words: The words.
        values: The command's own keys, which are given once, if other words may be paths that
            look like `key=value`. Without them every key needs a value, and the last one counts.

    Raises:
        ConfigError: A word is empty or has a line break, or a key has no value or several.
    """
    keys = tuple(values)
    seen: dict[str, str] = {}
    for word in words:
        if not word.strip():
            raise word_error("a word is empty: quote a value with spaces, as in 'key=a b'")
        if not word.isprintable():
            raise word_error(f"'{word}' has a line break, a tab or another control character")
        key, separator, value = word.partition("=")
        if not separator or (keys and key not in keys):
            continue
        if not value.strip():
            raise word_error(f"{word} has no value: type one after the =, or leave the word out")
        key = key.lstrip("+~")
        if key in seen and keys and key not in REPEATED:
            raise word_error(f"{key} is given twice: {seen[key]} and {word}")
        if key in seen and not keys:
            warn(f"{key} is given twice, and the last one counts: {word}")
        seen[key] = word


def options_and_paths(
    arguments: Sequence[str], keys: Sequence[str]
) -> tuple[dict[str, str], list[Path]]:
    """Return the words of the form key=value, and all other words as paths.

    A word that begins with a key is a path if there is one of that name.

    Raises:
        ConfigError: A word is empty or has a line break, or a key has no value or several.
    """
    existing = [word for word in arguments if Path(word).exists()]
    free = [key for key in keys if not any(word.startswith(f"{key}=") for word in existing)]
    check_plain_words(arguments, free)
    options: dict[str, str] = {}
    paths: list[Path] = []
    for word in arguments:
        key, separator, value = word.partition("=")
        if separator and key in keys and word not in existing:
            options[key] = value
        else:
            paths.append(Path(word))
    return options, paths


def values_by_key(words: Sequence[str], keys: Sequence[str], takes: str) -> dict[str, str]:
    """Return the values of words of the form key=value.

    Args:
        words: The words.
        keys: The keys that a command takes, the first of which is for a path.
        takes: Says so.

    Raises:
        ConfigError: A key is unknown.
    """
    from dqn_cli.config.hints import did_you_mean

    values: dict[str, str] = {}
    for word in words:
        key, separator, value = word.partition("=")
        if not separator or key not in keys:
            is_path = Path(word).exists()
            hint = f"; did you mean {keys[0]}={word}?" if is_path else did_you_mean(key, keys)
            raise word_error(f"unknown word {word}: {takes}{hint}")
        values[key] = value
    return values


def whole_number(key: str, text: str, least: int) -> int:
    """Return a whole number, which may be typed as 1e3.

    Raises:
        ConfigError: It is none, or less than `least`.
    """
    try:
        value = float(text) if "e" in text.lower() or "." in text else int(text)
    except ValueError:
        value = -1
    if not (least <= value < float("inf")) or value % 1:
        right = f"a whole number of at least {least}"
        raise word_error(f"{key}={text} is not valid: it must be {right}")
    return int(value)


def probability(key: str, text: str) -> float:
    """Return a number from 0 to 1.

    Raises:
        ConfigError: It is none.
    """
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise word_error(f"{key}={text} is not valid: it must be a number from 0 to 1")
    return value


def flag(key: str, text: str) -> bool:
    """Return true or false.

    Raises:
        ConfigError: It is neither.
    """
    if text.lower() not in ("true", "false"):
        raise word_error(f"{key}={text} is not valid: it must be true or false")
    return text.lower() == "true"


def warn(message: str) -> None:
    """Print a warning about what was typed."""
    print(f"warning: {one_line(message)}", file=sys.stderr)


def word_error(message: str) -> Exception:
    """Return the error for a word that can't be meant."""
    from dqn_cli.config.validation import ConfigError

    return ConfigError(one_line(message))
