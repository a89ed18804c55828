"""A run belongs to one process at a time: two would overwrite each other's checkpoints."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

LOCKED = Path(".hydra") / "config.yaml"  # of a run: never written again, and in every folder


class InUse(Exception):
    """Another process trains this run."""


@contextmanager
def locked(folders: Sequence[Path]) -> Iterator[None]:
    """Keeps runs for this process until it is done or dies; InUse if another one has one of them.

    Where the system or the disk knows no locks, nothing is kept.
    """
    with ExitStack() as stack:
        for folder in folders:
            with suppress(ImportError, OSError):
                _lock(folder, stack)
        yield


def _lock(folder: Path, stack: ExitStack) -> None:
    import fcntl  # not on Windows

    # Network file systems lock only what is open for writing.
    file = stack.enter_context((folder / LOCKED).open("r+b"))
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InUse(
            f"{folder} is being trained by another process: wait until it ends, or stop it"
        ) from error
