"""Logs that note what they are told, or fail."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dqn_cli.loggers.logger import Log, LoggedRun, Logger


class NotedLog(Log):
    """Notes each call."""

    def __init__(self, notes: list[Any], id: str | None = None) -> None:  # noqa: A002
        self.id, self.notes = id, notes

    def row(self, values: Mapping[str, float], step: int) -> None:
        self.notes.append((dict(values), step))

    def summary(self, values: Mapping[str, float | str]) -> None:
        self.notes.append(("summary", dict(values)))

    def file(self, path: Path) -> None:
        self.notes.append(("file", path))

    def video(self, path: Path, step: int) -> None:
        self.notes.append(("video", path, step))

    def close(self) -> None:
        self.notes.append("closed")


class FailingLog(NotedLog):
    """Raises at its second row."""

    def __init__(self, notes: list[Any], error: BaseException) -> None:
        super().__init__(notes)
        self.error = error

    def row(self, values: Mapping[str, float], step: int) -> None:
        if self.notes:
            raise self.error
        super().row(values, step)


class HangingLog(NotedLog):
    """Never returns from its first row, until it is released."""

    def __init__(self) -> None:
        super().__init__([])
        self.entered, self.released = threading.Event(), threading.Event()

    def row(self, values: Mapping[str, float], step: int) -> None:
        self.entered.set()
        self.released.wait(60)


@dataclass
class Noted(Logger):
    """Logger whose logs note what they are told."""

    id: str | None = None
    keeps: bool = False
    runs: list[LoggedRun] = field(default_factory=list)
    notes: list[Any] = field(default_factory=list)

    def begin(self, run: LoggedRun) -> Log:
        self.runs.append(run)
        return NotedLog(self.notes, self.id)

    @property
    def keeps_files(self) -> bool:
        return self.keeps

    @property
    def keeps_video(self) -> bool:
        return self.keeps


@dataclass
class Hanging(Logger):
    """Logger of a log that hangs."""

    def begin(self, run: LoggedRun) -> Log:
        return HangingLog()
