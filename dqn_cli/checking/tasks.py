"""Tasks in a process of their own, whose hang, crash or exit does not reach this one."""

from __future__ import annotations

import faulthandler
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from dqn_cli.envs.contract import EnvironmentFailure, describe_error
from dqn_cli.envs.processes import describe_end, isolate_process, kill_groups, process_context

MADE, IN_RESET = -1, 0  # steps of `Progress.report`
PERIOD = 0.05  # seconds between two looks at a task


class TaskResult(NamedTuple):
    """Result of a task, or why there is none."""

    value: Any = None
    failure: str | None = None


class Progress:
    """Place that a task has come to, in memory that both processes share."""

    def __init__(self, context: Any) -> None:
        self._values = context.RawArray("d", [time.monotonic(), MADE])

    def report(self, step: int) -> None:
        """Note that step number `step` begins, or MADE or IN_RESET."""
        self._values[1] = step
        self._values[0] = time.monotonic()

    @property
    def seconds_ago(self) -> float:
        """Time since the last report."""
        return float(time.monotonic() - self._values[0])

    @property
    def is_made(self) -> bool:
        """True after the environment was made."""
        return bool(self._values[1] != MADE)

    @property
    def place(self) -> str:
        """Place of the last report, in words."""
        step = int(self._values[1])
        return {MADE: "while it was made", IN_RESET: "in reset"}.get(step, f"in step {step:,}")


def run_task(
    task: Callable[[Progress], Any], patience: float, limit: float = float("inf")
) -> TaskResult:
    """Run a task in a process of its own, which is killed at the end.

    Args:
        task: A function that reports its progress.
        patience: Seconds without a report after which the task counts as hanging; twice as many
            while the environment is made.
        limit: Seconds after which the task is given up.
    """
    context = process_context()
    receiver, sender = context.Pipe(duplex=False)
    progress = Progress(context)
    process = context.Process(target=_run, args=(task, sender, progress, os.getpid()))
    process.start()
    sender.close()
    try:
        return _result(receiver, process, progress, patience, time.monotonic() + limit)
    finally:
        kill_groups([process])


def _result(
    receiver: Connection, process: Any, progress: Progress, patience: float, end: float
) -> TaskResult:
    while True:
        ready = wait([receiver, process.sentinel], PERIOD)
        if receiver in ready:
            with suppress(EOFError):
                return TaskResult(*receiver.recv())
        if process.sentinel in ready:
            process.join()
            fate = describe_end(process.exitcode)
            return TaskResult(failure=f"its process {fate} {progress.place}")
        waited = patience if progress.is_made else 2 * patience
        if progress.seconds_ago > waited:
            return TaskResult(failure=f"it did not answer within {waited:.1f} s {progress.place}")
        if time.monotonic() > end:
            return TaskResult(failure=f"no time was left {progress.place}; seconds=60 gives more")


def _run(
    task: Callable[[Progress], Any], sender: Connection, progress: Progress, parent: int
) -> None:
    """Run the task and send its result; the environment can print nothing."""
    isolate_process(parent)
    for kind in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(kind, signal.SIG_DFL)
    faulthandler.disable()
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115  (until the process ends)
    os.dup2(sys.stdout.fileno(), 1)
    os.dup2(sys.stdout.fileno(), 2)
    # A copy of this process would repeat what a new one does not.
    random.seed()
    np.random.seed(int.from_bytes(os.urandom(4), "little"))  # noqa: NPY002
    try:
        result = TaskResult(task(progress))
    except EnvironmentFailure as failure:
        result = TaskResult(failure=str(failure))
    except BaseException as error:
        result = TaskResult(failure=f"it raised {describe_error(error)} {progress.place}")
    sender.send(tuple(result))
    os._exit(0)  # an environment may hang at exit
