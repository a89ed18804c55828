"""A timer in the environment, the same for every system."""

from __future__ import annotations

import json
import os
import resource
import time
from typing import Any

import gymnasium


def watch(first: int, last: int) -> None:
    """Time the steps from `first` to `last`, print a line of JSON, and end the process.

    Steps are counted over all environments that are made after this call.
    """
    make, timer = gymnasium.make, StepTimer(first, last)

    class Timed(gymnasium.Wrapper):  # type: ignore[type-arg]
        def step(self, action: Any) -> Any:
            timer.count()
            return super().step(action)

    gymnasium.make = lambda *args, **kwargs: Timed(make(*args, **kwargs))


def watch_calls(owner: Any, name: str, first: int, last: int) -> None:
    """Time steps in calls of a method that steps one environment for each action."""
    method, timer = getattr(owner, name), StepTimer(first, last)

    def timed(self: Any, actions: Any) -> Any:
        timer.count(len(actions))
        return method(self, actions)

    setattr(owner, name, timed)


class StepTimer:
    """A counter of steps that reports their speed."""

    def __init__(self, first: int, last: int) -> None:
        self._first, self._last, self._steps = first, last, 0
        self._launched = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + start_after_boot()

    def count(self, steps: int = 1) -> None:
        """Count steps; after the last one, print the report and end the process."""
        before, self._steps = self._steps, self._steps + steps
        if before == 0:
            self._launch = time.time() - self._launched
        if before < self._first <= self._steps:
            self._until_first = time.time() - self._launched
            self._first_timed = self._steps
            self._wall, self._cpu = time.perf_counter(), cpu_seconds()
        if self._steps >= self._last:
            timed_steps = self._steps - self._first_timed
            report = {
                "steps_per_second": timed_steps / (time.perf_counter() - self._wall),
                "cpu_seconds": (cpu_seconds() - self._cpu) / timed_steps * 1e5,
                "megabytes": peak_megabytes(),
                "launch": self._launch,
                "until_first": self._until_first,
            }
            print(json.dumps(report), flush=True)
            os._exit(0)


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_megabytes() -> float:
    """Return the peak memory in megabytes.

    getrusage would start from the peak of the parent process.
    """
    with open("/proc/self/status") as status:  # noqa: PTH123
        lines = dict(line.split(":", 1) for line in status)
    return int(lines["VmHWM"].split()[0]) / 1e3


def start_after_boot() -> float:
    """Return the seconds from boot to the start of this process."""
    with open("/proc/self/stat") as stat:  # noqa: PTH123
        ticks = int(stat.read().rsplit(")", 1)[1].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")
