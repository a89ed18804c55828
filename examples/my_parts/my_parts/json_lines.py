"""A logger of one's own: a JSON object for each row."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from dqn_cli.loggers.logger import Log, LoggedRun, Logger


@dataclass
class JsonLines(Logger):
    """Rows of metrics in `file`, in the run's folder."""

    file: str = "metrics.jsonl"

    def begin(self, run: LoggedRun) -> Log:
        """Open the log of a run."""
        return JsonLog(run, self.file)


class JsonLog(Log):
    """Appends a line for each row."""

    def __init__(self, run: LoggedRun, name: str) -> None:
        self._path = run.folder / name

    def row(self, values: Mapping[str, float], step: int) -> None:
        """Write the metrics of one step."""
        with self._path.open("a") as file:
            file.write(json.dumps({"step": step, **values}) + "\n")
