"""Runs that are killed, or whose disk is full: the short form of benchmarks/endure.py."""

from __future__ import annotations

import gc
import itertools
import os
import shutil
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from run_differences import differences

from dqn_cli.envs.environments import Environments
from dqn_cli.runs import recorder
from dqn_cli.runs.recorder import RunRecorder

Typed = Callable[..., int]
SMALL = (
    "steps=120", "learning_starts=30", "train_every=4", "updates_per_train=1", "eval.every=50",
    "eval.episodes=1", "checkpoint.every=40", "network.widths=[4]", "replay.batch_size=8",
    "log.every=20", "compile=false", "threads=1",
)  # fmt: skip
FULL_DISK = Path(__file__).parents[1] / "benchmarks" / "full_disk.py"
NONE: dict[str, list[str]] = {"bits": [], "events": [], "result": [], "files": []}


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def killed(prepare: Callable[[], None], type_train: Typed, *words: str) -> None:
    """Types a command in a process that `prepare` lets kill itself."""

    def work() -> None:
        prepare()
        type_train(*words)

    process = get_context("fork").Process(target=work)
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def before_the_result() -> None:
    recorder.write_json = die


def in_the_last_evaluation() -> None:
    real = RunRecorder.evaluate

    def evaluate(member: RunRecorder, should_stop: Callable[[], bool]) -> dict[str, float]:
        if member.is_finished:
            die()
        return real(member, should_stop)

    RunRecorder.evaluate = evaluate  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("prepare", "words"),
    [
        (before_the_result, (*SMALL, "hydra.run.dir=run", "resume=auto")),
        (in_the_last_evaluation, ("resume=run",)),
    ],
)
def test_a_run_killed_at_its_last_step_still_gets_its_last_evaluation_and_result(
    type_train: Typed, prepare: Callable[[], None], words: tuple[str, ...]
) -> None:
    assert type_train(*SMALL, "hydra.run.dir=whole/run") == 0
    killed(prepare, type_train, *SMALL, "hydra.run.dir=run")
    assert type_train(*words) == 0
    assert differences(Path("run"), Path("whole/run")) == NONE


def test_an_extended_run_killed_before_its_result_still_gets_it(type_train: Typed) -> None:
    assert type_train(*SMALL, "hydra.run.dir=run") == 0
    killed(before_the_result, type_train, "resume=run", "steps=160")
    before = Path("run/result.json").read_text()
    assert type_train("resume=run", "steps=160") == 0
    assert '"steps": 120' in before
    assert '"steps": 160' in Path("run/result.json").read_text()


def in_write(nth: int) -> Callable[[], None]:
    """Kills the process when it has written a file for the nth time, but not yet renamed it."""

    def prepare() -> None:
        calls = itertools.count(1)
        os.fsync = lambda _: die() if next(calls) == nth else None  # type: ignore[assignment]

    return prepare


def test_a_run_killed_in_four_writes_goes_on_to_the_same_bits(type_train: Typed) -> None:
    assert type_train(*SMALL, "hydra.run.dir=whole/run") == 0
    words = (*SMALL, "hydra.run.dir=run", "resume=auto")
    for nth in (1, 2, 3, 2):
        killed(in_write(nth), type_train, *words)
        assert list(Path("run").rglob(".*.tmp"))
    assert type_train(*words) == 0
    assert differences(Path("run"), Path("whole/run")) == NONE


def test_a_run_gives_its_memory_back(type_train: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[weakref.ref[Environments]] = []
    real = Environments.close

    def close(envs: Environments, *arguments: Any) -> None:
        runs.append(weakref.ref(envs))
        real(envs, *arguments)

    monkeypatch.setattr(Environments, "close", close)
    assert type_train(*SMALL, "eval.every=null") == 0
    gc.collect()
    assert [run() for run in runs] == [None]


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("unshare"), reason="there is no small disk to fill")
def test_a_full_disk_is_named_and_loses_nothing() -> None:
    command = [sys.executable, str(FULL_DISK), "4", "15"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=250)
    if "Operation not permitted" in done.stderr:
        pytest.skip("no file system can be mounted here")
    assert done.returncode == 0, done.stdout + done.stderr
