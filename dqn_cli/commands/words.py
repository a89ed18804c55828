"""Checks of what was typed, word by word, before anything is read or written."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

from dqn_cli.text import one_line

MOST_JOBS = 100_000
FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
SWEEPERS = (
    "hydra/sweeper",
    "hydra.sweeper",
    "experiment",
    "search",
)  # which may have values to sweep over
SEARCH = ("search=", "hydra/sweeper=search")
REPEATED = ("import",)
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
            raise _error("a word is empty: quote a value with spaces, as in 'key=a b'")
        if not word.isprintable():
            raise _error(f"'{word}' has a line break, a tab or another control character")
        key, separator, value = word.partition("=")
        if not separator or (keys and key not in keys):
            continue
        if not value.strip():
            raise _error(f"{word} has no value: type one behind the =, or leave the word out")
        key = key.lstrip("+~")
        if key in seen and keys and key not in REPEATED:
            raise _error(f"{key} is given twice: {seen[key]} and {word}")
        if key in seen and not keys:
            _warn(f"{key} is given twice, and the last one counts: {word}")
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
            raise _error(f"unknown word {word}: {takes}{hint}")
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
        raise _error(f"{key}={text} is not valid: it must be {right}")
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
        raise _error(f"{key}={text} is not valid: it must be a number from 0 to 1")
    return value


def flag(key: str, text: str) -> bool:
    """Return true or false.

    Raises:
        ConfigError: It is neither.
    """
    if text.lower() not in ("true", "false"):
        raise _error(f"{key}={text} is not valid: it must be true or false")
    return text.lower() == "true"


def check_settings(words: Sequence[str], sweeps: bool, folders: Sequence[str] = ()) -> None:
    """Check words of the form key=value as Hydra reads them.

    Args:
        words: The words, without flags and words of the command itself.
        sweeps: True if -m is given.
        folders: The user's own YAML folders.

    Raises:
        ConfigError: A word can't be read or is taken for something else than it says.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser

    from dqn_cli.config.registry import SEVERAL

    check_plain_words(words)
    parser, jobs, has_sweep = OverridesParser.create(), 1, False
    groups = _groups(folders)
    for word in words:
        key, separator, _ = word.partition("=")
        if separator and not key.strip("+~ "):
            raise _error(f"'{word}' has no key before the =")
        (override,) = parser.parse_overrides([word])
        name, value = override.key_or_group, override.value()
        if override.is_sweep_override():
            has_sweep = True
            jobs *= _count(override, word, groups.get(name, ()))
            continue
        is_list = isinstance(value, list) and name in SEVERAL
        is_choice = name in groups or name.startswith("hydra/")
        if is_choice and isinstance(value, (dict, list)) and not is_list:
            raise _error(f"{word}: {name} takes the name of one of its choices, as in network=mlp")
        if name in FOLDERS and not str(value).strip("'\" "):
            raise _error(f"{word} has no value: name a folder")
    searches = [word for word in words if word.lstrip("+").startswith(SEARCH)]
    if searches and not sweeps:
        raise _error(f"{searches[0]} searches over many runs: add -m")
    if jobs > MOST_JOBS and not searches:  # which trains only some of all combinations
        raise _error(f"-m would train more than {MOST_JOBS:,} jobs: {' '.join(words)}")
    may_sweep = has_sweep or any(word.lstrip("+").startswith(SWEEPERS) for word in words)
    if sweeps and not may_sweep:
        _warn("-m has nothing to sweep over, so it trains one job: seed=0,1,2 would train three")


def _count(override: Any, word: str, choices: Sequence[str]) -> int:
    """Return the number of a sweep's values, at most one more than MOST_JOBS."""
    if override.is_interval_sweep():
        return 1
    if hasattr(value := override.value(), "filter"):
        count = len(value.filter(list(choices))) if choices else 1
    elif override.is_range_sweep():
        count = max(ceil((value.stop - value.start) / value.step), 0) if value.step else 0
    else:
        count = sum(1 for _ in islice(override.sweep_iterator(), MOST_JOBS + 1))
    if not count:
        raise _error(f"{word} has no values to sweep over")
    return count


def _groups(folders: Sequence[str]) -> dict[str, list[str]]:
    """Return the names of all choices of each group."""
    from dqn_cli.config.gymnasium_source import registered_envs
    from dqn_cli.config.paths import config_folder
    from dqn_cli.config.registry import own_choices

    paths = [Path(folder.removeprefix("file://")) for folder in folders]
    found: dict[str, list[str]] = {name: list(own) for name, own in own_choices().items()}
    for root in [config_folder(), *paths]:
        for group in root.glob("*/"):
            names = [
                file.relative_to(group).with_suffix("").as_posix() for file in group.rglob("*.yaml")
            ]
            found[group.name] = found.get(group.name, []) + names
    found["env"] = found.get("env", []) + list(registered_envs())
    return found


def _warn(message: str) -> None:
    print(f"warning: {one_line(message)}", file=sys.stderr)


def _error(message: str) -> Exception:
    from dqn_cli.config.validation import ConfigError

    return ConfigError(one_line(message))
