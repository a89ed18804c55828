"""Words that set a run's settings, checked as Hydra reads them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from math import ceil
from pathlib import Path
from typing import Any

from dqn_cli.commands.words import check_plain_words, warn, word_error

MOST_JOBS = 100_000
FOLDERS = ("hydra.run.dir", "hydra.sweep.dir", "hydra.sweep.subdir")
SEARCH = ("search=", "hydra/sweeper=search")
# Words of these may have values to sweep over.
SWEEPERS = ("hydra/sweeper", "hydra.sweeper", "experiment", "search")


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
            raise word_error(f"'{word}' has no key before the =")
        (override,) = parser.parse_overrides([word])
        name, value = override.key_or_group, override.value()
        if override.is_sweep_override():
            has_sweep = True
            jobs *= _count(override, word, groups.get(name, ()))
            continue
        is_list = isinstance(value, list) and name in SEVERAL
        is_choice = name in groups or name.startswith("hydra/")
        if is_choice and isinstance(value, (dict, list)) and not is_list:
            raise word_error(
                f"{word}: {name} takes the name of one of its choices, as in network=mlp"
            )
        if name in FOLDERS and not str(value).strip("'\" "):
            raise word_error(f"{word} has no value: name a folder")
    searches = [word for word in words if word.lstrip("+").startswith(SEARCH)]
    if searches and not sweeps:
        raise word_error(f"{searches[0]} searches over many runs: add -m")
    if jobs > MOST_JOBS and not searches:  # which trains only some of all combinations
        raise word_error(f"-m would train more than {MOST_JOBS:,} jobs: {' '.join(words)}")
    may_sweep = has_sweep or any(word.lstrip("+").startswith(SWEEPERS) for word in words)
    if sweeps and not may_sweep:
        warn("-m has nothing to sweep over, so it trains one job: seed=0,1,2 would train three")


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
        raise word_error(f"{word} has no values to sweep over")
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
