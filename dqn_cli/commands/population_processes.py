"""Groups of a population in processes of this machine."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from typing import NamedTuple

from dqn_cli.commands.command_line import (
    exit_with,
    import_modules,
    imported_modules,
    tolerate_closed_output,
)
from dqn_cli.commands.population_engines import Ending, Group, Placed
from dqn_cli.commands.population_work import train_group
from dqn_cli.envs.processes import describe_end
from dqn_cli.hardware import available_cores
from dqn_cli.interrupts import UserInterrupt
from dqn_cli.runs.signals import exit_when_preempted

STUCK_SECONDS = 8.0  # after which a step that has not returned is given up
POLL_SECONDS = 0.2  # a signal is noticed this late at most


def available_processes(threads: int | str) -> int:
    """Return how many groups keep all cores busy if each computes with so many threads."""
    return max(available_cores() // (1 if threads == "auto" else int(threads)), 1)


class GroupProcess(NamedTuple):
    """A group in a process of its own."""

    process: BaseProcess

    def ending(self) -> Ending | None:
        """Return how the process ended, or None while it lives."""
        return None if self.process.is_alive() else ending_of(self.process.exitcode)


class Processes(NamedTuple):
    """Engine of this machine: so many processes at once."""

    slots: int

    @property
    def is_here(self) -> bool:
        """A single group needs no process of its own."""
        return True

    @property
    def place(self) -> str:
        """This machine goes without saying."""
        return ""

    @property
    def parallel(self) -> int:
        """As many groups train as there are processes."""
        return self.slots

    def start(self, groups: Sequence[Group]) -> Sequence[Placed]:
        """Start the first group, so that a signal is noticed before the next."""
        return [GroupProcess(start_process(groups[0]))]

    def wait(self, running: Sequence[Placed]) -> None:
        """Wait a moment, or until a process ends."""
        connection.wait([process.sentinel for process in _processes(running)], POLL_SECONDS)

    def stop(self, running: Sequence[Placed]) -> None:
        """Send SIGTERM to all processes."""
        for process in _processes(running):
            process.terminate()

    def kill(self, running: Sequence[Placed]) -> None:
        """Send SIGKILL to all processes."""
        for process in _processes(running):
            process.kill()


def _processes(running: Sequence[Placed]) -> list[BaseProcess]:
    return [placed.process for placed in running if isinstance(placed, GroupProcess)]


def ending_of(exit_code: int | None) -> Ending:
    """Return how a process ended; SIGKILL and SIGTERM are from somebody who wanted the machine."""
    hint = "; env.vectorization=async tells more if its environment did that"
    was_killed = exit_code in (-signal.SIGKILL, -signal.SIGTERM)
    return Ending(f"its process {describe_end(exit_code)}{hint}", was_killed)


def start_process(group: Group) -> BaseProcess:
    """Start a process that trains a group and does not hear Ctrl-C itself."""
    # A new interpreter, because torch's threads do not survive a fork.
    process = multiprocessing.get_context("spawn").Process(
        target=train_in_process, args=(list(group), list(imported_modules))
    )
    resource_tracker.ensure_running()  # if the first process starts it, it undoes the mask
    with interrupts_blocked():
        process.start()
    return process


@contextmanager
def interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in new processes: Ctrl-C reaches all, but only this one shall act on it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@tolerate_closed_output()
def train_in_process(group: Group, modules: Sequence[str]) -> None:
    """Train a group and exit; the main function of a group's process."""
    exit_when_preempted()
    threading.Thread(target=end_with_parent, daemon=True).start()
    if not faulthandler.is_enabled():
        faulthandler.enable()
    import_modules(modules)
    try:
        exit_code = train_group(group)
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
