"""Jobs that nothing trains, for tests of what handles groups of them."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from dqn_cli.runs.job import Job


def job(number: int, *overrides: str) -> Job:
    """A job that nothing trains."""
    return Job(None, Path(), list(overrides), number)  # type: ignore[arg-type]


def groups_of(*sizes: int) -> list[list[Job]]:
    numbers = count()
    return [[job(next(numbers)) for _ in range(size)] for size in sizes]
