"""Flags of the commands: the words that begin with a dash."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from dqn_cli.text import one_line

FLAGS = ("-m", "--multirun", "--run", "-r", "--resolve", "--hydra-help")
FLAGS_WITH_VALUE = {
    "--cfg": ("job", "hydra", "all"),
    "-c": ("job", "hydra", "all"),
    "--info": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "-i": ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath"),
    "--config-dir": (),
    "-cd": (),
    "--package": (),
    "-p": (),
}


class UsageError(SystemExit):
    """Flags that a command does not take; it ends with exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = one_line(message)


def check_flags(arguments: Sequence[str]) -> list[str]:
    """Check the flags of dqn-train, and return all other words.

    Raises:
        UsageError: A flag is unknown, or its value is missing or unknown.
    """
    words, flags, remaining = list[str](), set[str](), list(arguments)
    while remaining:
        word = remaining.pop(0)
        flag, separator, value = word.partition("=")
        if not word.startswith("-"):
            words.append(word)
            continue
        if flag not in FLAGS_WITH_VALUE:
            if word not in FLAGS:
                raise unknown_flag(word, [*FLAGS, *FLAGS_WITH_VALUE])
        else:
            _check_flag_value(flag, value if separator else _next_value(flag, remaining))
        flags.add(flag)
    if flags & {"--package", "-p"} and not flags & {"--cfg", "-c"}:
        raise UsageError("--package goes with --cfg job, which prints a part of the configuration")
    return words


def unknown_flag(word: str, known: Iterable[str] = ()) -> UsageError:
    """Return the error for a word with dashes."""
    from dqn_cli.config.hints import did_you_mean

    hint = did_you_mean(word.partition("=")[0], known)
    return UsageError(
        f"unknown flag {word}: words have no dashes, as in env=CartPole-v1{hint}; see --help"
    )


def _next_value(flag: str, remaining: list[str]) -> str:
    """Take the value of a flag from the next word; that of --info may be left out."""
    is_info = flag in ("--info", "-i")
    if not remaining or (is_info and remaining[0] not in FLAGS_WITH_VALUE[flag]):
        return "all" if is_info else ""
    return remaining.pop(0)


def _check_flag_value(flag: str, value: str) -> None:
    choices = FLAGS_WITH_VALUE[flag]
    if choices and value not in choices:
        raise UsageError(f"{flag} {value}: {flag} takes {', '.join(choices)}")
    if not value:
        raise UsageError(f"{flag} has no value")
    if flag in ("--config-dir", "-cd") and not Path(value).is_dir():
        raise UsageError(f"{flag} {value}: there is no such folder")
