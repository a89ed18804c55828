"""What every logger provides, and what it is told of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar, NamedTuple


class LoggedRun(NamedTuple):
    """A run as a logger begins with it."""

    folder: Path  # absolute
    group: str  # name of its sweep; empty for a run of its own
    hyperparameters: Mapping[str, bool | float | str]  # by key, such as `optimizer.lr`
    step: int = 0  # that the run goes on from; rows of later steps, if there are any, come again
    id: str | None = None  # of the log in an earlier session of the run

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.folder.name


class Log:
    """Open log of one run. Only `row` must be there; whatever a method raises stops no run."""

    id: str | None = None  # by which a resumed run goes on in the same log; None: by the folder

    def row(self, values: Mapping[str, float], step: int) -> None:
        """Write metrics of one environment step; a step may have several rows."""
        raise NotImplementedError

    def summary(self, values: Mapping[str, float | str]) -> None:
        """Write the outcome of the run, such as `best/mean`."""

    def file(self, path: Path) -> None:
        """Keep a file of the run's folder."""

    def video(self, path: Path, step: int) -> None:
        """Keep a film of the greedy policy at a step, an MP4; PATH.gif is beside it."""

    def close(self) -> None:
        """Write what is left; the run may be resumed later."""


@dataclass
class Logger:
    """Base of all loggers. A thread of its own calls the log, unless the logger `is_direct`."""

    is_direct: ClassVar[bool] = False  # fast enough for the training loop, and never waits
    needs: ClassVar[str | None] = None  # module of the extra that has the logger's name

    def begin(self, run: LoggedRun) -> Log:
        """Open the log of a run, new or resumed."""
        raise NotImplementedError

    @property
    def keeps_files(self) -> bool:
        """True if the log takes files at the end of the run."""
        return False

    @property
    def keeps_video(self) -> bool:
        """True if the log takes a video at the end of the run."""
        return False


@dataclass
class Tracker(Logger):
    """Base of trackers of experiments, which keep more than rows."""

    project: str
    files: bool
    video: bool

    @property
    def keeps_files(self) -> bool:
        """True if the log takes files at the end of the run."""
        return self.files

    @property
    def keeps_video(self) -> bool:
        """True if the log takes a video at the end of the run."""
        return self.video


def check_installed(loggers: Mapping[str, Logger], video: bool) -> None:
    """Check that the packages of all loggers are installed, and of `video`, without importing them.

    Raises:
        ImportError: One is missing; the message says how to install it.
    """
    if video and find_spec("moviepy") is None:
        raise ImportError("video=true needs an extra: pip install 'dqn-train[video]'")
    for name, logger in loggers.items():
        if logger.needs is not None and find_spec(logger.needs) is None:
            raise ImportError(f"logger={name} needs an extra: pip install 'dqn-train[{name}]'")
        if logger.keeps_video and find_spec("moviepy") is None:
            raise ImportError(
                f"logger.{name}.video=true needs an extra: pip install 'dqn-train[video]'"
            )
