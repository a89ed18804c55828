"""Locks: one process at a time trains a run, so that no checkpoint is overwritten by another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

LOCK_FILE = Path(".hydra") / "config.yaml"  # in every run's folder, and never written again


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


def _lock(folder: Path, stack: ExitStack) -> None:
    import fcntl  # not on Windows

    # Network file systems lock only files that are open for writing.
    file = stack.enter_context((folder / LOCK_FILE).open("r+b"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InUse(
            f"{folder} is being trained by another process: wait until it ends, or stop it"
        ) from error
