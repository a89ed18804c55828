"""Groups of jobs: each trains as one population, several at once where an engine has room."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from dqn_cli.commands.population_engines import Ending, Engine, Group, Placed
from dqn_cli.commands.population_work import group_title, train_group
from dqn_cli.runs.job import Job
from dqn_cli.runs.manifest import can_resume, is_unstarted, write_manifests
from dqn_cli.runs.result import RESULT, write_unstarted_result
from dqn_cli.runs.signals import GracefulShutdown

POLL_SECONDS = 1.0  # between looks for results


def print_groups(groups: Sequence[Group], engine: Engine) -> None:
    """Print the jobs of each group, with the overrides that only this group has in common."""
    shared = [set.intersection(*(set(job.overrides) for job in group)) for group in groups]
    shared_by_all = set.intersection(*shared) if groups else set()
    total, parallel = sum(map(len, groups)), min(len(groups), engine.slots or len(groups))
    print(
        f"population of {total} jobs{engine.place}, training {parallel} of {len(groups)} groups at"
        " a time"
    )
    for group, overrides in zip(groups, shared, strict=True):
        common = [word for word in group[0].overrides if word in overrides - shared_by_all]
        size = f"{len(group)} side by side" if len(group) > 1 else "alone"
        print(f"  {group_title(group)}: {size}  {' '.join(common)}".rstrip())
    sys.stdout.flush()


def train_groups(groups: Sequence[Group], engine: Engine) -> int:
    """Train all groups where the engine says; each job writes its own result.json.

    Returns:
        The exit code of the signal that stopped them, once their checkpoints are written, or 0.
    """
    for group in groups:
        write_manifests(group)
    if len(groups) == 1 and engine.is_here:
        return train_group(groups[0])
    waiting, running = list(groups), dict[Placed, Group]()
    with GracefulShutdown() as shutdown, _killed_at_exit(engine, running):
        passed_on = 0  # signals
        while running or (waiting and not shutdown.requested):
            while (free := _free(engine, waiting, running)) and not shutdown.requested:
                started = engine.start(waiting[:free])
                running |= zip(started, waiting, strict=False)
                del waiting[: len(started)]
            engine.wait(list(running))
            if shutdown.requested and shutdown.received > passed_on:
                passed_on = shutdown.received
                engine.stop(list(running))  # each group writes its checkpoints first
            for placed in list(running):
                if (ending := placed.ending()) is None:
                    continue
                group = running.pop(placed)
                if not shutdown.requested:
                    report_death(group, ending)
    _note_unstarted(groups if shutdown.requested else (), waiting)
    return shutdown.exit_code


def _free(engine: Engine, waiting: Sequence[Group], running: Mapping[Placed, Group]) -> int:
    """Return how many groups may start now."""
    slots = len(waiting) if engine.slots is None else engine.slots - len(running)
    return min(slots, len(waiting))


def _note_unstarted(groups: Iterable[Group], waiting: Iterable[Group]) -> None:
    """Write that jobs were interrupted that a stopped sweep did not come to."""
    placed = [job for group in groups for job in group if is_unstarted(job.folder)]
    left = [job for group in waiting for job in group if can_resume(job.folder)]
    for job in [*placed, *left]:
        write_unstarted_result(job.settings, job.overrides, job.folder, None)


def report_death(group: Group, ending: Ending) -> None:
    """Print why jobs of a group have no result, if some have none, and write them one.

    What was killed has none, so that a resumed sweep goes on with it.
    """
    deadline = time.monotonic() + ending.patience
    while (jobs := _without_result(group)) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    if not jobs:
        return
    print(f"{group_title(jobs)} failed: {ending.reason}", file=sys.stderr, flush=True)
    if ending.goes_on:
        return
    reason = ending.reason.partition(";")[0]
    for job in jobs:
        write_unstarted_result(job.settings, job.overrides, job.folder, reason)


def _without_result(group: Group) -> list[Job]:
    started = [job for job in group if can_resume(job.folder)]
    # A listing shows new files of other machines sooner than a look for one name.
    return [job for job in started if job.folder / RESULT not in job.folder.iterdir()]


@contextmanager
def _killed_at_exit(engine: Engine, running: Mapping[Placed, Group]) -> Iterator[None]:
    try:
        yield
    finally:
        engine.kill(list(running))  # if a second Ctrl-C came
