"""Commands that repeat each choice, and the versions its runs were made with."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from dqn_cli.reporting.run_rows import RunRow

NO_VERSIONS = "unknown"


class Command(NamedTuple):
    """A command that repeats runs which differ in their seed alone."""

    choice: str
    env: str
    line: str


class Versions(NamedTuple):
    """Versions of packages and the Git commit, and how many runs were made with them."""

    runs: int
    packages: str
    commit: str


def commands(rows: Sequence[RunRow]) -> list[Command]:
    """Return the commands that repeat all runs."""
    seeds: dict[tuple[str, str, tuple[str, ...]], list[str]] = defaultdict(list)
    for row in rows:
        last = {word.lstrip("+").partition("=")[0]: word for word in row.words}
        words = tuple(word for key, word in last.items() if key != "seed")
        seeds[row.choice, row.env, words].append(last.get("seed", ""))
    return [
        Command(choice, env, _line(env, words, typed))
        for (choice, env, words), typed in seeds.items()
    ]


def versions(rows: Sequence[RunRow]) -> list[Versions]:
    """Return the sets of versions that runs were made with, the most frequent first."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    for row in rows:
        if row.versions:
            packages = ", ".join(f"{name} {number}" for name, number in row.versions.items())
            counts[packages, row.commit or NO_VERSIONS] += 1
    found = [Versions(runs, *key) for key, runs in counts.items()]
    return sorted(found, key=lambda versions: -versions.runs)


def _line(env: str, words: Sequence[str], seeds: Sequence[str]) -> str:
    """Return a command line for some seeds, each an override or empty."""
    values = list(dict.fromkeys(seed.partition("=")[2] for seed in seeds if seed))
    line = ["dqn-train", *(["-m"] if len(values) > 1 else []), *words]
    if values:
        line.append(f"seed={','.join(sorted(values, key=lambda value: (len(value), value)))}")
    module = env.rpartition(":")[0]
    return shlex.join([*line, *([f"import={module}"] if module else [])])
