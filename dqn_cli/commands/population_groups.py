"""Groups of jobs: each trains as one population, several at once in separate processes."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import chdir, contextmanager
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess

from dqn_cli.commands.command_line import (
    exit_with,
    import_modules,
    imported_modules,
    tolerate_closed_output,
)
from dqn_cli.config.errors import explain
from dqn_cli.envs.processes import describe_end
from dqn_cli.hardware import available_cores
from dqn_cli.interrupts import UserInterrupt
from dqn_cli.runs.grouping import format_ranges
from dqn_cli.runs.locks import InUse, lock_runs
from dqn_cli.runs.manifest import can_resume, write_manifests
from dqn_cli.runs.outcomes import Interrupted
from dqn_cli.runs.recorder import Job
from dqn_cli.runs.result import RESULT, write_unstarted_result
from dqn_cli.runs.session import Session
from dqn_cli.runs.signals import GracefulShutdown, exit_when_preempted

STUCK_SECONDS = 8.0  # after which a step that has not returned is given up
POLL_SECONDS = 0.2  # a signal is noticed this late at most


def print_groups(groups: Sequence[Sequence[Job]], processes: int) -> None:
    """Print the jobs of each group, with the overrides that only this group has in common."""
    shared = [set.intersection(*(set(job.overrides) for job in group)) for group in groups]
    shared_by_all = set.intersection(*shared) if groups else set()
    total, parallel = sum(map(len, groups)), min(len(groups), processes)
    print(f"population of {total} jobs, training {parallel} of {len(groups)} groups at a time")
    for group, overrides in zip(groups, shared, strict=True):
        common = [word for word in group[0].overrides if word in overrides - shared_by_all]
        size = f"{len(group)} side by side" if len(group) > 1 else "alone"
        print(f"  {group_title(group)}: {size}  {' '.join(common)}".rstrip())
    sys.stdout.flush()


def group_title(group: Sequence[Job]) -> str:
    """Return the numbers of the jobs, such as `jobs 0-7`."""
    return f"{'job' if len(group) == 1 else 'jobs'} {format_ranges([job.number for job in group])}"


def available_processes(threads: int | str) -> int:
    """Return how many groups keep all cores busy if each computes with so many threads."""
    return max(available_cores() // (1 if threads == "auto" else int(threads)), 1)


def train_groups(groups: Sequence[Sequence[Job]], processes: int) -> int:
    """Train all groups, at most `processes` at once; each job writes its own result.json.

    Returns:
        The exit code of the signal that stopped them, once their checkpoints are written, or 0.
    """
    for group in groups:
        write_manifests(group)
    if len(groups) == 1:
        return _train_group(groups[0])
    waiting, running = list(groups), list[BaseProcess]()
    started: dict[BaseProcess, Sequence[Job]] = {}
    with GracefulShutdown() as shutdown, _killed_at_exit(running):
        passed_on = 0  # signals
        while running or (waiting and not shutdown.requested):
            while waiting and len(running) < processes and not shutdown.requested:
                running.append(start_process(waiting[0]))
                started[running[-1]] = waiting.pop(0)
            connection.wait([process.sentinel for process in running], POLL_SECONDS)
            if shutdown.requested and shutdown.received > passed_on:
                passed_on = shutdown.received
                for process in running:
                    process.terminate()  # each writes its checkpoints first
            for process in [process for process in running if not process.is_alive()]:
                running.remove(process)
                if not shutdown.requested:
                    report_death(started[process], process.exitcode)
    for job in (job for group in waiting for job in group if can_resume(job.folder)):
        write_unstarted_result(job.settings, job.overrides, job.folder, None)
    return shutdown.exit_code


def report_death(group: Sequence[Job], exit_code: int | None) -> None:
    """Print that the process of a group has died, if it has, and write the results it did not.

    What was killed with SIGKILL or SIGTERM has no result, so that a resumed sweep goes on with it.
    """
    started = [job for job in group if can_resume(job.folder)]
    jobs = [job for job in started if not (job.folder / RESULT).exists()]
    if not jobs:
        return
    reason = f"its process {describe_end(exit_code)}"
    hint = "; env.vectorization=async tells more if its environment did that"
    print(f"{group_title(jobs)} failed: {reason}{hint}", file=sys.stderr, flush=True)
    if exit_code in (-signal.SIGKILL, -signal.SIGTERM):
        return
    for job in jobs:
        write_unstarted_result(job.settings, job.overrides, job.folder, reason)


def start_process(group: Sequence[Job]) -> BaseProcess:
    """Start a process that trains a group and does not hear Ctrl-C itself."""
    # A new interpreter, because torch's threads do not survive a fork.
    process = multiprocessing.get_context("spawn").Process(
        target=train_in_process, args=(list(group), list(imported_modules))
    )
    resource_tracker.ensure_running()  # if the first process starts it, it undoes the mask
    with _interrupts_blocked():
        process.start()
    return process


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in new processes: Ctrl-C reaches all, but only this one shall act on it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _killed_at_exit(running: Sequence[BaseProcess]) -> Iterator[None]:
    try:
        yield
    finally:
        for process in running:  # if a second Ctrl-C came
            process.kill()


@tolerate_closed_output()
def train_in_process(group: Sequence[Job], modules: Sequence[str]) -> None:
    """Train a group and exit; the main function of a group's process."""
    exit_when_preempted()
    threading.Thread(target=end_with_parent, daemon=True).start()
    if not faulthandler.is_enabled():
        faulthandler.enable()
    import_modules(modules)
    try:
        exit_code = _train_group(group)
    except UserInterrupt as interrupt:
        exit_code = interrupt.exit_code
    exit_with(exit_code)


def end_with_parent() -> None:
    """Wait until the parent process ends, then send SIGTERM to this one until it ends too."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    while True:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(STUCK_SECONDS)


def _train_group(group: Sequence[Job]) -> int:
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
