"""Commands that are killed at a moment, and what they leave running."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

COMMAND = [sys.executable, "-m", "dqn_cli.commands.train"]
PAUSE = 0.003  # seconds between two looks
LONGEST = 900.0  # seconds of a command
SECONDS_TO_END = 20.0  # that processes of a killed command have
MARK = "KILLED_COMMAND"  # an environment variable, by which a command's processes are found
PROCESSES = Path("/proc")
COMPILING = "compiling, once"


class Moment(NamedTuple):
    """A moment to kill at: so many seconds after the nth time that something happens.

    That is its `launch`, its manifest (`begun`), a file that is being written (`writing`), a new
    checkpoint (`saved`), or the begin of compilation (`compiling`).
    """

    mark: str
    delay: float = 0.0
    nth: int = 1
    whole_group: bool = False  # its worker processes too


class Ended(NamedTuple):
    """How a command ended."""

    killed: bool
    code: int
    error: str  # the last line of its log
    compiled: bool  # it was about to compile
    seconds: float
    begun: float  # seconds until there was a manifest
    left: list[int]  # its processes that did not end


def run_command(
    words: Sequence[str],
    folder: Path,
    moment: Moment | None = None,
    variables: Mapping[str, str] | None = None,
) -> Ended:
    """Types a command that trains in `folder`, and kills it at a moment, if it comes to that."""
    mark, log = uuid.uuid4().hex, folder.with_name(f"{folder.name}.log")
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {MARK: mark, "PYTHONUNBUFFERED": "1"} | dict(variables or {})
    with log.open("w") as output:
        process = subprocess.Popen(
            [*COMMAND, *words],
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
    try:
        watch = Watch(folder, log)
        while process.poll() is None and time.monotonic() - watch.start < LONGEST:
            if watch.is_time(moment):
                break
            time.sleep(PAUSE)
        is_alive = process.poll() is None
        if is_alive:
            _kill(process, moment)
        code = process.wait()
        left = _left_running(mark)
    finally:
        _kill_all(process, mark)
    lines = log.read_text().splitlines()
    return Ended(
        is_alive and moment is not None,
        code,
        lines[-1] if lines else "",
        any(COMPILING in line for line in lines),
        time.monotonic() - watch.start,
        watch.begun,
        left,
    )


class Watch:
    """What a running command has done so far, seen from outside."""

    def __init__(self, folder: Path, log: Path) -> None:
        """Watch a run or sweep in `folder`, which may go on there."""
        self.start, self.begun = time.monotonic(), 0.0
        self._folder, self._log = folder, log
        self._temporary: set[str] = set(self._partial_files())
        self._saved: set[int] = set(self._checkpoints())
        self._times = dict.fromkeys(("launch", "begun", "writing", "saved", "compiling"), 0)
        self._times["launch"] = 1
        self._reached: float | None = None

    def is_time(self, moment: Moment | None) -> bool:
        """Whether the moment has come."""
        if not self.begun and any(self._glob(".hydra/plan")):
            self._times["begun"], self.begun = 1, time.monotonic() - self.start
        if moment is None:
            return False
        if self._reached is None:
            self._look(moment.mark)
            if self._times[moment.mark] < moment.nth:
                return False
            self._reached = time.monotonic()
        return time.monotonic() - self._reached >= moment.delay

    def _look(self, mark: str) -> None:
        if mark == "writing":
            new = set(self._partial_files()) - self._temporary
            self._temporary |= new
            self._times[mark] += len(new)
        elif mark == "saved":
            now = set(self._checkpoints())
            self._times[mark] += len(now - self._saved)
            self._saved |= now
        elif mark == "compiling" and COMPILING in self._log.read_text():
            self._times[mark] = 1

    def _glob(self, name: str) -> Iterator[Path]:
        yield from self._folder.glob(name)
        yield from self._folder.glob(f"*/{name}")

    def _partial_files(self) -> Iterator[str]:
        for place in (".hydra", "checkpoints", "."):
            yield from map(str, self._glob(f"{place}/.*.tmp"))

    def _checkpoints(self) -> Iterator[int]:
        for path in self._glob("checkpoints/last"):
            try:
                yield path.stat().st_mtime_ns
            except OSError:  # it was just removed
                continue


def random_moment(rng: random.Random, start: float, total: float, compiles: bool) -> Moment:
    """A moment of a run whose training begins after `start` seconds and ends after `total`."""
    whole_group, kind = rng.random() < 0.5, rng.random()
    if kind < 0.08:
        return Moment("launch", rng.uniform(0, start), whole_group=whole_group)
    if kind < 0.16:
        return Moment("begun", rng.uniform(0, 0.3), whole_group=whole_group)
    if kind < 0.36:
        return Moment("writing", 0.0, rng.randint(1, 6), whole_group)
    if kind < 0.56:
        return Moment("saved", rng.uniform(0, 0.2), rng.randint(1, 6), whole_group)
    if kind < 0.66 and compiles:
        return Moment("compiling", rng.uniform(0, 6), whole_group=whole_group)
    return Moment("launch", rng.uniform(start, total), whole_group=whole_group)


def _kill(process: subprocess.Popen[bytes], moment: Moment | None) -> None:
    if moment is None or moment.whole_group:
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()


def _left_running(mark: str) -> list[int]:
    """Processes of a command that go on; they have some time to notice its death."""
    end = time.monotonic() + SECONDS_TO_END
    while (found := _processes(mark)) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def _processes(mark: str) -> list[int]:
    found, text = [], f"{MARK}={mark}".encode()
    for path in PROCESSES.glob("[0-9]*/environ"):
        try:
            if text in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


def _kill_all(process: subprocess.Popen[bytes], mark: str) -> None:
    if process.poll() is None:
        process.kill()
        process.wait()
    for number in _processes(mark):
        os.kill(number, signal.SIGKILL)
