"""Groups of jobs, each trained side by side, several groups at once in processes of their own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess

from dqn_cli.commands.command_line import import_all, imported, speaking
from dqn_cli.config.errors import explain
from dqn_cli.hardware import available_cores
from dqn_cli.runs.grouping import spans
from dqn_cli.runs.locks import InUse, locked
from dqn_cli.runs.manifest import write_manifests
from dqn_cli.runs.recorder import Job
from dqn_cli.runs.result import RESULT, result_of_none
from dqn_cli.runs.session import Interrupted, Session
from dqn_cli.runs.signals import Interruption
from dqn_cli.storage import write_json

LOOK = 0.2  # seconds between two looks at whether a signal came


def announce(groups: Sequence[Sequence[Job]], processes: int) -> None:
    """Says how jobs were grouped, and what the jobs of each group alone have in common."""
    shared = [set.intersection(*(set(job.overrides) for job in group)) for group in groups]
    everywhere = set.intersection(*shared) if groups else set()
    total, at_once = sum(map(len, groups)), min(len(groups), processes)
    print(f"population of {total} jobs, training {at_once} of {len(groups)} groups at a time")
    for group, words in zip(groups, shared, strict=True):
        common = [word for word in group[0].overrides if word in words - everywhere]
        how = f"{len(group)} side by side" if len(group) > 1 else "alone"
        print(f"  {title_of(group)}: {how}  {' '.join(common)}".rstrip())
    sys.stdout.flush()


def title_of(group: Sequence[Job]) -> str:
    """Such as `jobs 0-7`."""
    return f"{'job' if len(group) == 1 else 'jobs'} {spans([job.number for job in group])}"


def available_processes(threads: int | str) -> int:
    """How many groups keep every core busy when each computes with so many threads."""
    return max(available_cores() // (1 if threads == "auto" else int(threads)), 1)


def train_groups(groups: Sequence[Sequence[Job]], processes: int) -> int:
    """Trains all groups, `processes` at once; what came of each job is in its result.json.

    Returns the exit code of a signal that ended them, after checkpoints were written, or 0.
    """
    for group in groups:
        write_manifests(group)
    if len(groups) == 1:
        return _train(groups[0])
    waiting, running = list(groups), list[BaseProcess]()
    with Interruption() as interruption, _killed_with_us(running):
        told = False
        while running or (waiting and not interruption):
            while waiting and len(running) < processes and not interruption:
                running.append(_started(waiting.pop(0)))
            connection.wait([process.sentinel for process in running], LOOK)
            if interruption and not told:
                told = True
                for process in running:
                    process.terminate()  # it writes its checkpoints first
            running[:] = [process for process in running if process.is_alive()]
    return interruption.exit_code


def _started(group: Sequence[Job]) -> BaseProcess:
    # A new interpreter: torch's threads do not survive a fork.
    process = multiprocessing.get_context("spawn").Process(
        target=_work, args=(list(group), list(imported))
    )
    resource_tracker.ensure_running()  # where the first process starts it, it undoes the mask
    with _born_deaf():
        process.start()
    return process


@contextmanager
def _born_deaf() -> Iterator[None]:
    """Ctrl-C in a terminal reaches every process; those started here are told what to do by us."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _killed_with_us(running: Sequence[BaseProcess]) -> Iterator[None]:
    try:
        yield
    finally:
        for process in running:  # after a second Ctrl-C
            process.kill()


@speaking()
def _work(group: Sequence[Job], modules: Sequence[str]) -> None:
    """What a process of a group does."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import_all(modules)
    sys.exit(_train(group))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)


def _train(group: Sequence[Job]) -> int:
    """The exit code of a signal, or 0: what failed says so in its result.json."""
    title = title_of(group)
    try:
        with locked([job.folder for job in group]):
            results = Session(group, title)()
    except Interrupted as interrupted:
        return interrupted.exit_code
    except InUse as error:  # its result is for the other process to write
        print(f"{title}: {error}", file=sys.stderr, flush=True)
        return 0
    except Exception as error:
        reason = explain(error)
        print(f"{title} failed: {reason}", file=sys.stderr, flush=True)
        for job in group:
            if not (job.folder / RESULT).exists():
                result = result_of_none(job.settings, job.overrides, "failed", reason)
                write_json(job.folder / RESULT, result)
        return 0
    finished = [result for result in results if result["status"] == "finished"]
    seconds = max(result["seconds"]["total"] for result in results)
    print(f"{title}: {len(finished)} of {len(group)} finished in {seconds:,.0f} s", flush=True)
    return 0
