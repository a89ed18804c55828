"""Training of one group of a population, here or on another machine."""

from __future__ import annotations

import os
import pickle
import sys
import time
from collections.abc import Sequence
from contextlib import chdir
from pathlib import Path
from typing import NamedTuple, Self

from dqn_cli.commands.command_line import import_modules, imported_modules
from dqn_cli.commands.continuation import Continuation, Position, run_status
from dqn_cli.config.errors import explain
from dqn_cli.runs.grouping import format_ranges
from dqn_cli.runs.job import Job
from dqn_cli.runs.locks import InUse, lock_runs
from dqn_cli.runs.manifest import can_resume, has_checkpoint, load_state
from dqn_cli.runs.outcomes import Interrupted
from dqn_cli.runs.result import write_unstarted_result
from dqn_cli.runs.session import Session
from dqn_cli.runs.signals import END_SIGNALS, GracefulShutdown

LOST_SECONDS = 90.0  # after which a lost machine has let go of its runs
LOCK_SECONDS = 1.0  # between looks at their locks


def group_title(group: Sequence[Job]) -> str:
    """Return the numbers of the jobs, such as `jobs 0-7`."""
    return f"{'job' if len(group) == 1 else 'jobs'} {format_ranges([job.number for job in group])}"


def train_group(group: Sequence[Job]) -> int:
    """Train a group and return the exit code of a signal, or 0 even if jobs failed."""
    title = group_title(group)
    try:
        # An environment may change the working folder.
        with lock_runs([job.folder for job in group]), chdir("."):
            results = Session(group, title)()
    except Interrupted as interrupted:
        return interrupted.exit_code
    except InUse as error:  # the other process writes the result
        print(f"{title}: {error}", file=sys.stderr, flush=True)
        return 0
    except Exception as error:
        reason = explain(error)
        print(f"{title} failed: {reason}", file=sys.stderr, flush=True)
        for job in group:
            write_unstarted_result(job.settings, job.overrides, job.folder, reason)
        return 0
    finished = [result for result in results if result["status"] == "finished"]
    seconds = max(result["seconds"]["total"] for result in results)
    print(f"{title}: {len(finished)} of {len(group)} finished in {seconds:,.0f} s", flush=True)
    return 0


class Parcel(NamedTuple):
    """A group on its way to a process that may start anywhere, and again after it was lost."""

    title: str
    folder: str  # the working folder, which all machines share
    modules: list[str]  # the user's own
    threads: int
    failed: list[int]  # numbers of jobs that have failed before, and are tried again
    jobs: bytes  # pickled, because their classes may be those of the modules

    @classmethod
    def pack(cls, group: Sequence[Job], threads: int) -> Self:
        """Return a group as a parcel."""
        failed = [job.number for job in group if run_status(job.folder) == "failed"]
        jobs, here, modules = pickle.dumps(list(group)), str(Path.cwd()), list(imported_modules)
        return cls(group_title(group), here, modules, threads, failed, jobs)

    def train(self) -> int:
        """Train the group, or what is left to do of it; return the exit code of a signal, or 0."""
        os.chdir(self.folder)
        # Of several jobs on a machine none takes more cores than it asked for.
        os.environ["OMP_NUM_THREADS"] = str(self.threads)
        import_modules(self.modules)
        with GracefulShutdown(numbers=END_SIGNALS) as shutdown:
            jobs = pickle.loads(self.jobs)
            wait_until_free([job.folder for job in jobs])
            groups = unfinished_groups(jobs, self.failed)
            for group in groups:
                if not shutdown.requested and (exit_code := train_group(group)):
                    return exit_code
            return shutdown.exit_code


def wait_until_free(folders: Sequence[Path]) -> None:
    """Wait until a lost machine has let go of runs; one that never does is told later."""
    deadline = time.monotonic() + LOST_SECONDS
    while time.monotonic() < deadline:
        try:
            with lock_runs(folders):
                return
        except InUse:
            time.sleep(LOCK_SECONDS)


def unfinished_groups(group: Sequence[Job], failed: Sequence[int]) -> list[list[Job]]:
    """Return what is left to train of a group that an earlier process may have begun.

    Args:
        group: The jobs.
        failed: Numbers of those that failed before the group was sent; others that failed stay so.
    """
    if not all(can_resume(job.folder) for job in group):
        return [list(group)]
    runs = [
        Continuation(job._replace(resumes=has_checkpoint(job.folder)), load_state(job.folder))
        for job in group
        if run_status(job.folder) != "failed" or job.number in failed
    ]
    positions: dict[Position, list[Job]] = {}
    for run in runs:
        if not run.is_finished:
            positions.setdefault(run.position, []).append(run.job)
    return list(positions.values())
