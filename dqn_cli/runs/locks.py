"""Locks: one process at a time trains a run, so that no checkpoint is overwritten by another."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

LOCK_FILE = Path(".hydra") / "config.yaml"  # in every run's folder, and never written again

_held: list[int] = []  # descriptors of the locks of this process


class InUse(Exception):
    """Another process trains this run."""


@contextmanager
def lock_runs(folders: Sequence[Path]) -> Iterator[None]:
    """Lock runs until the block or the process ends.

    Nothing is locked where the system or the file system has no locks.

    Raises:
        InUse: Another process holds one of the locks.
    """
    with ExitStack() as stack:
        for folder in folders:
            with suppress(ImportError, OSError):
                _lock(folder, stack)
        yield


def lock_folder(folder: Path, stack: ExitStack) -> None:
    """Lock the folder of a new run or sweep until the stack is closed, or the process ends.

    Raises:
        InUse: Another process holds the lock.
    """
    with suppress(ImportError, OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        stack.callback(os.close, descriptor)
        _flock(descriptor, folder, stack)


def _forget(descriptor: int) -> None:
    if descriptor in _held:  # a fork of this process holds none
        _held.remove(descriptor)


def _let_go() -> None:
    """Drop the locks of the process that this one was forked from, which it would keep locked."""
    for descriptor in _held:
        with suppress(OSError):
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, descriptor, inheritable=False)
            os.close(null)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _lock(folder: Path, stack: ExitStack) -> None:
    # Network file systems lock only files that are open for writing.
    file = stack.enter_context((folder / LOCK_FILE).open("r+b"))
    _flock(file.fileno(), folder, stack)


def _flock(descriptor: int, folder: Path, stack: ExitStack) -> None:
    import fcntl  # not on Windows

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _held.append(descriptor)
        stack.callback(_forget, descriptor)
        # Closing alone would wait for a process that was forked a moment ago.
        stack.callback(fcntl.flock, descriptor, fcntl.LOCK_UN)
    except BlockingIOError as error:
        raise InUse(
            f"{folder} is being trained by another process: wait until it ends, or stop it"
        ) from error
