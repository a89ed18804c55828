"""A stopwatch in the environment, the same for every system."""

from __future__ import annotations

import json
import os
import resource
import time
from typing import Any

import gymnasium


def watch(first: int, last: int) -> None:
    """Prints what the steps from `first` to `last` cost as a line of JSON, and ends the process.

    Steps are counted over all environments that are made from here on.
    """
    make, clock = gymnasium.make, _Clock(first, last)

    class Timed(gymnasium.Wrapper):  # type: ignore[type-arg]
        def step(self, action: Any) -> Any:
            clock.report()
            return super().step(action)

    gymnasium.make = lambda *args, **kwargs: Timed(make(*args, **kwargs))


def watch_calls(owner: Any, name: str, first: int, last: int) -> None:
    """The same for calls of a method, each of which steps as many environments as it gets."""
    called, clock = getattr(owner, name), _Clock(first, last)

    def timed(self: Any, actions: Any) -> Any:
        clock.report(len(actions))
        return called(self, actions)

    setattr(owner, name, timed)


class _Clock:
    def __init__(self, first: int, last: int) -> None:
        self._first, self._last, self._steps = first, last, 0
        self._launched = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + _started()

    def report(self, steps: int = 1) -> None:
        before, self._steps = self._steps, self._steps + steps
        if before == 0:
            self._launch = time.time() - self._launched
        if before < self._first <= self._steps:
            self._until_first = time.time() - self._launched
            self._wall, self._cpu, self._begun = time.perf_counter(), _cpu(), self._steps
        if self._steps >= self._last:
            count = self._steps - self._begun
            report = {
                "steps_per_second": count / (time.perf_counter() - self._wall),
                "cpu_seconds": (_cpu() - self._cpu) / count * 1e5,
                "megabytes": _peak(),
                "launch": self._launch,
                "until_first": self._until_first,
            }
            print(json.dumps(report), flush=True)
            os._exit(0)


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak() -> float:
    """Megabytes; of this process alone, while getrusage begins with those of its parent."""
    with open("/proc/self/status") as status:  # noqa: PTH123
        lines = dict(line.split(":", 1) for line in status)
    return int(lines["VmHWM"].split()[0]) / 1e3


def _started() -> float:
    """Seconds after boot at which this process was started."""
    with open("/proc/self/stat") as stat:  # noqa: PTH123
        reports = int(stat.read().rsplit(")", 1)[1].split()[19])
    return reports / os.sysconf("SC_CLK_TCK")
