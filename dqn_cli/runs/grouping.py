"""Groups of jobs: runs whose computation has the same shapes train in one process."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any

from dqn_cli.runs.job import Job
from dqn_cli.training.settings import Settings, plain

# Schedules are evaluated in Python per member, so only their types must match.
TYPE_ONLY_PARTS = ("target", "exploration")
# One batched computation covers all members: numbers may differ, shapes and types may not.
BATCHED_PARTS = ("network", "head", "update", "optimizer", "augment", "replay")
PER_MEMBER_KEYS = ("seed", "gamma", "stop", "tuned", "logger", "init", "init_optimizer", "video")


def group_key(settings: Settings) -> str:
    """Return a key that two settings share if their runs can train in one group."""
    common = {key: value for key, value in plain(settings).items() if key not in PER_MEMBER_KEYS}
    if settings.init_replay:  # replays of other runs have other lengths
        common["init"] = settings.init
    common |= {part: common[part]["type"] for part in TYPE_ONLY_PARTS}
    common["acts"] = settings.target.acts
    common |= {part: _without_floats(common[part]) for part in BATCHED_PARTS}
    common["auxiliary"] = {
        name: _without_floats(part) for name, part in common["auxiliary"].items()
    }
    return json.dumps(common, sort_keys=True, default=str)


def group_jobs(jobs: Iterable[Job], processes: int, members: int) -> list[list[Job]]:
    """Group jobs with equal keys, at most `members` each, so that no process is idle."""
    by_key: dict[str, list[Job]] = {}
    for job in jobs:
        by_key.setdefault(group_key(job.settings), []).append(job)
    compatible = list(by_key.values())
    parts = [-(-len(group) // members) for group in compatible]  # number of groups for each key
    rounds = -(-sum(parts) // processes)
    while sum(parts) < min(rounds * processes, sum(map(len, compatible))):
        sizes = [len(group) / count for group, count in zip(compatible, parts, strict=True)]
        parts[sizes.index(max(sizes))] += 1
    return [
        part
        for group, count in zip(compatible, parts, strict=True)
        for part in _split(group, count)
    ]


def format_ranges(numbers: Sequence[int]) -> str:
    """Return ascending numbers as text, such as `0-3` or `0, 2, 4-6`."""
    starts = [0, *(i + 1 for i, (a, b) in enumerate(pairwise(numbers)) if b != a + 1)]
    ends = [*(start - 1 for start in starts[1:]), len(numbers) - 1]
    bounds = [(numbers[a], numbers[b]) for a, b in zip(starts, ends, strict=True)]
    return ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in bounds)


def _split(jobs: Sequence[Job], parts: int) -> Iterator[list[Job]]:
    """Split jobs, in order, into parts whose sizes differ by at most one."""
    for part in range(parts):
        yield list(jobs[part * len(jobs) // parts : (part + 1) * len(jobs) // parts])


def _without_floats(part: dict[str, Any]) -> dict[str, Any]:
    return {key: "number" if isinstance(value, float) else value for key, value in part.items()}
