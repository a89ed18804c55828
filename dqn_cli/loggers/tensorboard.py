"""Logger of TensorBoard's event files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from dqn_cli.loggers.logger import Log, LoggedRun, Logger


@dataclass
class TensorBoard(Logger):
    """An event file in the run's folder, a new one for each session."""

    # A thread would compete with training for the interpreter lock, and a row be late on disk.
    is_direct: ClassVar[bool] = True

    def begin(self, run: LoggedRun) -> Log:
        """Open a new event file."""
        from dqn_cli.loggers.event_file import EventFile

        has_older_file = any(run.folder.glob("events.*"))
        purge_step = run.step + 1 if has_older_file else None
        return EventFile(run.folder, run.hyperparameters, purge_step)
