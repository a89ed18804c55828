"""Grouping jobs: runs of one structure train side by side, and groups share the cores."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from dqn_cli.runs.recorder import Job
from dqn_cli.training.settings import Settings, plain

# What is followed in Python for each member, so that only its kind must be the same.
FOLLOWED = ("target", "exploration")
# What is computed for all members at once, with numbers that may differ but not shapes.
COMPUTED = ("network", "head", "update", "optimizer", "replay")
OWN = ("seed", "gamma")


def structure(settings: Settings) -> str:
    """What members of one group have in common: everything but a member's own numbers."""
    common = {key: value for key, value in plain(settings).items() if key not in OWN}
    common |= {part: common[part]["type"] for part in FOLLOWED}
    common |= {part: _without_numbers(common[part]) for part in COMPUTED}
    return json.dumps(common, sort_keys=True, default=str)


def grouped(jobs: Iterable[Job], processes: int, members: int) -> list[list[Job]]:
    """Jobs of one structure together, at most so many, and split so that no process is idle."""
    by_structure: dict[str, list[Job]] = {}
    for job in jobs:
        by_structure.setdefault(structure(job.settings), []).append(job)
    alike = list(by_structure.values())
    parts = [-(-len(each) // members) for each in alike]  # that each structure is split into
    rounds = -(-sum(parts) // processes)
    while sum(parts) < min(rounds * processes, sum(map(len, alike))):
        sizes = [len(each) / part for each, part in zip(alike, parts, strict=True)]
        parts[sizes.index(max(sizes))] += 1
    return [group for each, part in zip(alike, parts, strict=True) for group in _split(each, part)]


def spans(numbers: Sequence[int]) -> str:
    """Ascending numbers in words: 0-3 or 0, 2, 4-6."""
    starts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(numbers)) if b != a + 1)]
    ends = [*(start - 1 for start in starts[1:]), len(numbers) - 1]
    bounds = [(numbers[a], numbers[b]) for a, b in zip(starts, ends, strict=True)]
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in bounds)


def _split(jobs: Sequence[Job], parts: int) -> Iterator[list[Job]]:
    """As many parts, in order, whose sizes differ by one at most."""
    for part in range(parts):
        yield list(jobs[part * len(jobs) // parts : (part + 1) * len(jobs) // parts])


def _without_numbers(part: dict[str, Any]) -> dict[str, Any]:
    return {key: "number" if isinstance(value, float) else value for key, value in part.items()}
