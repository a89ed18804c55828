"""Progress of a run: a live bar in a terminal, or a plain line every few seconds in a pipe."""

from __future__ import annotations

import multiprocessing
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Event, Thread
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from dqn_cli.agent.clock import Clock

SECONDS_BETWEEN_LINES = 10.0
SECONDS_BETWEEN_REFRESHES = 0.2
_LABELS = {  # and number format, by tag
    "rollout/ep_rew_mean": ("return", ".1f"),
    "eval/mean_reward": ("greedy", ".1f"),
    "rollout/exploration_rate": ("epsilon", ".3f"),
    "train/loss": ("loss", ".3g"),
    "time/fps": ("steps/s", ",.0f"),
}
_WIDE_ONLY = ("rollout/exploration_rate", "train/loss")  # left out in a narrow terminal
_WIDE = 110  # columns that a bar with every metric needs


class Display:
    """Progress of a run towards `steps` and `episodes`, with its latest metrics."""

    def __init__(
        self, steps: int, episodes: int | None, done: float, title: str = "", pretrain: int = 0
    ) -> None:
        """Begin with a share of the run that is done.

        Args:
            steps: Length of the run.
            episodes: Its other limit, or None.
            done: The share.
            title: Prefix of each line; a process of a sweep prints lines instead of a bar.
            pretrain: Updates before the first step.
        """
        self._steps, self._episodes, self._title = steps, episodes, title
        self._pretrain = pretrain
        self._console = Console(highlight=False, soft_wrap=True)
        self._latest: dict[str, float] = {}
        self._last_shown = time.monotonic()
        self._start = (time.monotonic(), done)
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        if sys.stdout.isatty() and multiprocessing.parent_process() is None:
            columns = (BarColumn(12), TextColumn("{task.description}"), TimeRemainingColumn())
            # A refresh thread would compete with training for the interpreter lock.
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

    def print_line(self, line: str) -> None:
        """Print a line that stays above the bar."""
        self._console.print(f"{self._title}: {line}" if self._title else line, markup=False)

    def show(self, clock: Clock, done: float, metrics: Mapping[str, float]) -> None:
        """Update the metrics and the share of the run that is done."""
        self._latest |= metrics
        if done <= self._start[1]:  # updates before the first step say nothing about later ones
            self._start = (time.monotonic(), done)
        pause = SECONDS_BETWEEN_LINES if self._bar is None else SECONDS_BETWEEN_REFRESHES
        if time.monotonic() - self._last_shown < pause:
            return
        self._last_shown = time.monotonic()
        if self._bar is not None and self._task is not None:
            text = self._text(clock)
            self._bar.update(self._task, completed=done, description=text, refresh=True)
        else:
            self.print_line(f"{self._text(clock)}{self._eta(done)}")

    @contextmanager
    def busy(self, activity: str) -> Iterator[None]:
        """Show how long an activity takes during which the run makes no steps."""
        ended = Event()
        thread = Thread(target=self._count_seconds, args=(activity, ended), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _count_seconds(self, activity: str, ended: Event) -> None:
        start = time.monotonic()
        while not ended.wait(SECONDS_BETWEEN_LINES if self._bar is None else 1.0):
            text = f"{activity}: {time.monotonic() - start:.0f} s so far"
            if self._bar is not None and self._task is not None:
                self._bar.update(self._task, description=text, refresh=True)
            else:
                self.print_line(text)

    def _text(self, clock: Clock) -> str:
        parts = [f"step {clock.steps:,}/{self._steps:,}"]
        if not clock.steps and clock.updates:  # from data, before the first step
            parts = [f"update {clock.updates:,}/{self._pretrain:,}"]
        if self._episodes:
            parts.append(f"episode {clock.episodes:,}/{self._episodes:,}")
        narrow = self._bar is not None and self._console.width < _WIDE
        for tag, (label, number_format) in _LABELS.items():
            if tag in self._latest and not (narrow and tag in _WIDE_ONLY):
                parts.append(f"{label} {self._latest[tag]:{number_format}}")
        return "  ".join(parts)

    def _eta(self, done: float) -> str:
        start_time, done_at_start = self._start
        if done <= done_at_start:
            return ""
        elapsed = time.monotonic() - start_time
        remaining = elapsed * (1 - done) / (done - done_at_start)
        minutes, seconds = divmod(int(remaining), 60)
        return f"  eta {minutes // 60}:{minutes % 60:02}:{seconds:02}"
