"""Processes that run somebody else's code: how they begin, how they end, what became of them."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.process import BaseProcess
from typing import Any

PR_SET_PDEATHSIG = 1  # of prctl in Linux


def process_context() -> Any:
    """Return the way to start processes: by a fork, if that is safe here.

    A new interpreter would not know the environments that `import=` has registered.
    """
    can_fork = sys.platform != "darwin" and "fork" in multiprocessing.get_all_start_methods()
    return multiprocessing.get_context("fork" if can_fork else None)


def isolate_process(parent: int) -> None:
    """Make this process the head of a group of its own that ends with its `parent`.

    Its group has all processes that it will start, so that they can be killed together.
    """
    if hasattr(os, "setpgid"):
        with suppress(PermissionError):  # it is the head of a group already
            os.setpgid(0, 0)  # a session of its own would be scheduled apart, which is slow
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if multiprocessing.parent_process() is not None and os.getppid() != parent:
        os._exit(1)  # the parent has ended already


def kill_groups(processes: Sequence[BaseProcess]) -> None:
    """Kill processes and all that they have started, even those that have ended themselves."""
    for process in processes:
        if process.pid is None:
            continue
        with suppress(OSError, AttributeError):  # it has no group, or the system has none
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
    for process in processes:
        if process.pid is not None:
            process.join(1)  # one that waits for a disk may not even die of SIGKILL


def describe_end(exit_code: int | None) -> str:
    """Return what became of a process."""
    if exit_code is None:
        return "closed its connection"
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        return f"was killed by {signal.Signals(-exit_code).name}"
    except ValueError:
        return f"was killed by signal {-exit_code}"
