"""The command that this process runs, and its sweep."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from dqn_cli.runs.launched_jobs import LauncherShutdown


class Refused(BaseException):
    """Wrapper of an error that Hydra must not handle; `__cause__` is the error."""


class Command:
    """A typed command, with the locks and signal handlers that last as long as it runs."""

    words: Sequence[str] = ()
    folder: Path | None = None  # of its run or sweep, once that is there
    continues: bool = False  # True if runs that exist go on
    changes: Sequence[str] | None = None  # of a sweep that is resumed
    modules: Sequence[str] = ()
    stack = ExitStack()

    @classmethod
    @contextmanager
    def begin(
        cls,
        words: Sequence[str],
        modules: Sequence[str] = (),
        continues: bool = False,
        changes: Sequence[str] | None = None,
    ) -> Iterator[None]:
        """Note what was typed until the command ends."""
        Sweep.folder = Sweep.shutdown = cls.folder = None
        cls.words, cls.modules, cls.continues, cls.changes = words, modules, continues, changes
        try:
            with ExitStack() as cls.stack:
                yield
        finally:
            cls.continues, cls.changes = False, None


class Sweep:
    """Sweep that this process runs, if any."""

    folder: Path | None = None
    shutdown: LauncherShutdown | None = None  # if its jobs run in other processes
