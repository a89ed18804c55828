"""Logger of Trackio."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dqn_cli.loggers.logger import Log, LoggedRun, Tracker


@dataclass
class Trackio(Tracker):
    """A run of Trackio, in its folder on this machine or in a Space."""

    needs: ClassVar[str | None] = "trackio"

    space: str | None

    def begin(self, run: LoggedRun) -> Log:
        """Begin a run, or go on with the one of an earlier session."""
        new_name = f"{run.group}_{run.name}" if run.group else run.name
        options = {
            "project": self.project,
            "space_id": self.space,
            "name": run.id or new_name,
            "group": run.group or None,
            "config": dict(run.hyperparameters),
            "resume": "never" if run.id is None else "allow",
            "embed": False,
            "auto_log_gpu": False,
            "auto_log_cpu": False,
        }
        os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
        import trackio
        import trackio.run
        import trackio.utils

        for module in (trackio, trackio.run, trackio.utils):
            setattr(module, "print", _say_nothing)  # noqa: B010 - the screen belongs to the run
        return TrackioLog(trackio.init(**options), run.folder)


class TrackioLog(Log):
    """Open run of Trackio, which knows runs by their names."""

    def __init__(self, run: Any, folder: Path) -> None:
        self.id = run.name
        self._run, self._folder, self._step = run, folder, 0

    def row(self, values: Mapping[str, float], step: int) -> None:
        """Log metrics."""
        self._step = step
        self._run.log(dict(values), step=step)

    def summary(self, values: Mapping[str, float | str]) -> None:
        """Log the outcome with the last step; Trackio has no summaries."""
        self._run.log({f"summary/{key}": value for key, value in values.items()}, step=self._step)

    def file(self, path: Path) -> None:
        """Log a file as an artifact."""
        name = "_".join((self._run.name, *path.relative_to(self._folder).parts))
        self._run.log_artifact(path, name=name, type="file")

    def video(self, path: Path, step: int) -> None:
        """Log the film."""
        import trackio

        self._run.log({"video": trackio.Video(str(path), format="mp4")}, step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()


def _say_nothing(*args: object, **kwargs: object) -> None:
    """Take the place of `print`."""
