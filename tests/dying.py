"""Environments that die or hang, in a way and a place that are arguments."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


def _stop_and_die() -> None:
    """Stops its process; another one kills it while it is stopped."""
    process = os.getpid()
    if os.fork() == 0:
        time.sleep(0.3)
        os.kill(process, signal.SIGKILL)
        os._exit(0)
    os.kill(process, signal.SIGSTOP)


def _ignore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1_000)


def _swallow() -> None:
    """Sleeps on whatever is raised."""
    while True:
        with suppress(BaseException):
            time.sleep(1_000)


def _raise(error: BaseException) -> None:
    raise error


WAYS = {
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "stop": _stop_and_die,
    "segfault": lambda: ctypes.string_at(0),
    "exit": lambda: os._exit(7),
    "sys_exit": lambda: _raise(SystemExit(5)),
    "interrupt": lambda: _raise(KeyboardInterrupt()),
    "error": lambda: _raise(RuntimeError("no licence")),
    "sleep": lambda: time.sleep(1_000),
    "busy": lambda: sum(itertools.repeat(0)),  # in C, without ever giving back the interpreter
    "deaf": _ignore_sigterm,
    "move": lambda: os.chdir("/"),
    "swallow": _swallow,
}


class Dying(gymnasium.Env[Any, Any]):
    """Episodes of five steps; in `place` number `at` it dies in this `way`."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(
        self,
        way: str = "",
        place: str = "step",
        at: int = 1,
        only: str = "",
        seed_of_death: int | None = None,
        child_file: str = "",
    ) -> None:
        """Die in this way.

        If they are given, only the process dies whose file `only` can be created, and only an
        environment whose first or latest seed was `seed_of_death`.
        """
        self.way, self.place, self.at, self.only = way, place, at, only
        self.seed_of_death = seed_of_death
        self.seeds: list[int | None] = [None, None]  # the first and the latest
        if child_file:
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
            Path(child_file).write_text(str(child.pid))
        self.counts = dict.fromkeys(("init", "reset", "step", "close"), 0)
        self._come_to("init")

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.seeds = [self.seeds[0] if self.seeds[0] is not None else seed, seed]
        self.time = 0
        self._come_to("reset")
        return self.np_random.random(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.time += 1
        self._come_to("step")
        return self.np_random.random(2, np.float32), 1.0, self.time >= 5, False, {}

    def close(self) -> None:
        self._come_to("close")

    def _come_to(self, place: str) -> None:
        self.counts[place] += 1
        if place != self.place or self.counts[place] != self.at or not self.way:
            return
        if self.seed_of_death is not None and self.seed_of_death not in self.seeds:
            return
        if self.only:
            try:
                os.close(os.open(self.only, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return
        WAYS[self.way]()


gymnasium.register("Dying-v0", entry_point=Dying)
