"""Logger of Weights & Biases."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dqn_cli.loggers.logger import Log, LoggedRun, Tracker

MODE, OFFLINE = "WANDB_MODE", "offline"


@dataclass
class Wandb(Tracker):
    """A run of Weights & Biases, which stays on this machine unless the user says otherwise."""

    needs: ClassVar[str | None] = "wandb"

    entity: str | None
    mode: str | None

    def __post_init__(self) -> None:
        """Raise ValueError for an unknown mode."""
        if self.mode not in (None, "online", OFFLINE):
            raise ValueError(f"logger.wandb.mode={self.mode} must be online, offline or null")

    def begin(self, run: LoggedRun) -> Log:
        """Begin a run, or go on with the one of an earlier session."""
        options = {
            "project": self.project,
            "entity": self.entity,
            "mode": self.mode or os.environ.get(MODE) or OFFLINE,
            "name": run.name,
            "group": run.group or None,
            "config": dict(run.hyperparameters),
            "id": run.id,
            "resume": "allow",
            "dir": str(run.folder),
        }
        # It would report its own errors, also from a run that is not to be sent.
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
        import wandb

        if options["mode"] == "online" and not wandb.api.api_key:  # it would ask on the terminal
            raise RuntimeError("there is no API key: type `wandb login`, or set WANDB_API_KEY")
        settings = wandb.Settings(console="off", silent=True)
        # Members of a population have their runs at the same time.
        return WandbLog(wandb.init(**options, reinit="create_new", settings=settings), run.folder)


class WandbLog(Log):
    """Open run of Weights & Biases."""

    def __init__(self, run: Any, folder: Path) -> None:
        self.id = run.id
        self._run, self._folder = run, folder

    def row(self, values: Mapping[str, float], step: int) -> None:
        """Log metrics; rows of one step become one."""
        self._run.log(dict(values), step=step)

    def summary(self, values: Mapping[str, float | str]) -> None:
        """Update the summary."""
        self._run.summary.update(dict(values))

    def file(self, path: Path) -> None:
        """Copy a file to those of the run."""
        copy = Path(self._run.dir) / path.relative_to(self._folder)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        self._run.save(str(copy), base_path=self._run.dir, policy="now")

    def video(self, path: Path, step: int) -> None:
        """Log the film."""
        import wandb

        self._run.log({"video": wandb.Video(str(path), format="mp4")}, step=step)

    def close(self) -> None:
        """Finish the run."""
        self._run.finish()
