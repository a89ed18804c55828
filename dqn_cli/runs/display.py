"""What a run says: a live bar in a terminal, or a plain line every so often in a pipe."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dqn_cli.agent.clock import Clock

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_PICTURES = 0.2
_WORDS = {
    "rollout/ep_rew_mean": ("return", ".1f"),
    "eval/mean_reward": ("greedy", ".1f"),
    "rollout/exploration_rate": ("epsilon", ".3f"),
    "train/loss": ("loss", ".3g"),
    "time/fps": ("steps/s", ",.0f"),
}
_LEAST = ("rollout/exploration_rate", "train/loss")  # what a narrow terminal has no room for
_WIDE = 110  # columns that a bar takes with all


class Display:
    """Shows how far a run is, of `steps` and perhaps `episodes`, and its latest metrics."""

    def __init__(self, steps: int, episodes: int | None, done: float, title: str = "") -> None:
        """The `title` stands before each line; a process of a sweep shows lines and no bar."""
        self._steps, self._episodes, self._title = steps, episodes, title
        self._console = Console(highlight=False, soft_wrap=True)
        self._latest: dict[str, float] = {}
        self._shown = time.monotonic()
        self._started = (time.monotonic(), done)
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if sys.stdout.isatty() and multiprocessing.parent_process() is None:
            columns = (BarColumn(12), TextColumn("{task.description}"), TimeRemainingColumn())
            # A thread that draws would keep the training waiting for Python's interpreter.
            self._bar = Progress(
                *columns, console=self._console, transient=True, auto_refresh=False
            )
            self._bar.start()
            self._task = self._bar.add_task("", total=1.0)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(f"{self._title}: {line}" if self._title else line, markup=False)

    def show(self, now: Clock, done: float, row: Mapping[str, float]) -> None:
        """The newest metrics, with the share of the run that is done."""
        self._latest |= row
        pause = SECONDS_BETWEEN_LINES if self._bar is None else SECONDS_BETWEEN_PICTURES
        if time.monotonic() - self._shown < pause:
            return
        self._shown = time.monotonic()
        if self._bar is not None and self._task is not None:
            text = self._text(now)
            self._bar.update(self._task, completed=done, description=text, refresh=True)
        else:
            self.say(f"{self._text(now)}  eta {self._eta(done)}")

    def _text(self, now: Clock) -> str:
        parts = [f"step {now.steps:,}/{self._steps:,}"]
        if self._episodes:
            parts.append(f"episode {now.episodes:,}/{self._episodes:,}")
        narrow = self._bar is not None and self._console.width < _WIDE
        for tag, (word, form) in _WORDS.items():
            if tag in self._latest and not (narrow and tag in _LEAST):
                parts.append(f"{word} {self._latest[tag]:{form}}")
        return "  ".join(parts)

    def _eta(self, done: float) -> str:
        since, at = self._started
        left = (time.monotonic() - since) * (1 - done) / max(done - at, 1e-9)
        minutes, seconds = divmod(int(left), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
