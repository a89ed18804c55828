from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.runs.job import Job
from dqn_cli.runs.locks import lock_runs
from dqn_cli.runs.outcomes import TrainingFailure
from dqn_cli.runs.single_run import train_alone
from dqn_cli.storage import load_checkpoint
from dqn_cli.training.settings import Settings

pytestmark = pytest.mark.timeout(60, method="thread")
Compose = Callable[..., Settings]
TESTS = Path(__file__).parents[1]
WORDS = (
    "env=dying:Dying-v0",
    "env.num_envs=2",
    "env.timeout=1",
    "steps=60",
    "learning_starts=4",
    "network.widths=[8]",
    "eval.every=null",
    "checkpoint.every=50",
    "compile=false",
    "replay.batch_size=4",
    "replay.capacity=100",
)


def dying(way: str, place: str = "step", at: int = 9, kind: str = "async") -> tuple[str, ...]:
    kwargs = (f"+env.kwargs.way={way}", f"+env.kwargs.place={place}", f"+env.kwargs.at={at}")
    return (*WORDS, *kwargs, f"env.vectorization={kind}")


def result_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text())


@pytest.mark.parametrize(
    ("kind", "way"),
    [("async", "kill"), ("async", "exit"), ("async", "busy"), ("sync", "error"), ("sync", "sleep")],
)
def test_a_dead_environment_leaves_a_checkpoint_of_the_step_before(
    settings_of: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, way: str
) -> None:
    monkeypatch.setattr("dqn_cli.runs.session.CLOSE_SECONDS", 0.3)  # the other worker hangs too
    with pytest.raises(TrainingFailure, match=r"env=dying:Dying-v0.*in step 4 .*, at step 17$"):
        train_alone(Job(settings_of(*dying(way, kind=kind)), tmp_path, []))
    result = result_of(tmp_path)
    assert (result["status"], result["steps"]) == ("failed", 16)
    assert load_checkpoint(tmp_path / "checkpoints" / "last")["clock"][0] == 16


@pytest.mark.parametrize(("place", "at"), [("init", 1), ("step", 9)])
def test_an_environment_may_change_the_working_folder(
    settings_of: Compose, in_folder: Path, place: str, at: int
) -> None:
    Path("run").mkdir()
    result = train_alone(Job(settings_of(*dying("move", place, at, "sync")), Path("run"), []))
    assert result["status"] == result_of(in_folder / "run")["status"] == "finished"
    assert load_checkpoint(in_folder / "run" / "checkpoints" / "last")["clock"][0] == 60
    assert Path.cwd() == in_folder


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_an_environment_that_dies_before_the_first_step_leaves_a_result(
    settings_of: Compose, tmp_path: Path, kind: str
) -> None:
    with pytest.raises(EnvironmentFailure, match="in reset of the episode"):
        train_alone(Job(settings_of(*dying("error", "reset", 1, kind)), tmp_path, ["a=1"]))
    result = result_of(tmp_path)
    assert (result["status"], result["steps"], result["overrides"]) == ("failed", 0, ["a=1"])


def start(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dqn_cli.commands.train", *words, "import=dying"]
    return subprocess.Popen(
        [*command, f"hydra.run.dir={folder}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": f"{TESTS.parent}:{TESTS}"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        start_new_session=True,
    )


INT, TERM = signal.SIGINT, signal.SIGTERM


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "way", "signals", "code"),
    [
        ("async", "sleep", (INT, INT), 130),
        ("async", "busy", (TERM, TERM), 143),
        ("async", "deaf", (TERM, INT), 130),
        ("sync", "sleep", (INT, INT), 130),
        ("sync", "sleep", (TERM, TERM), 143),
        ("sync", "swallow", (INT, INT), 130),
        ("sync", "busy", (INT, INT), -INT),
    ],
)
def test_a_second_signal_ends_a_run_whatever_its_environment_does(
    tmp_path: Path, kind: str, way: str, signals: tuple[signal.Signals, ...], code: int
) -> None:
    folder, mark = tmp_path / "run", tmp_path / "mark"
    words = (*dying(way, kind=kind), "env.timeout=null", f"+env.kwargs.only={mark}")
    process = start(folder, *words)
    while not mark.exists():
        time.sleep(0.05)
    for number in signals:
        time.sleep(1.2)  # a second SIGTERM within a second counts as the same
        sent = time.monotonic()
        process.send_signal(number)
    process.communicate(timeout=10)
    assert time.monotonic() - sent < 2.5
    assert process.returncode == code
    if code >= 0:
        assert result_of(folder)["status"] == "interrupted"
    with lock_runs([folder]):
        pass


WAYS = (
    "kill",
    "stop",
    "segfault",
    "exit",
    "sys_exit",
    "interrupt",
    "error",
    "sleep",
    "busy",
    "deaf",
    "swallow",
)
DEADLY = ("kill", "stop", "segfault", "exit", "busy")  # for the run's own process


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["async", "sync"])
@pytest.mark.parametrize("place", ["step", "reset"])
@pytest.mark.parametrize("way", WAYS)
def test_every_death_ends_the_command_with_a_line_a_checkpoint_and_a_result(
    tmp_path: Path, way: str, place: str, kind: str
) -> None:
    if kind == "sync" and way in DEADLY:
        pytest.skip("nothing inside can tell")
    folder = tmp_path / "run"
    begun = time.monotonic()
    process = start(folder, *dying(way, place, 9 if place == "step" else 3, kind))
    _, errors = process.communicate(timeout=50)
    assert time.monotonic() - begun < 40
    assert process.returncode == 1
    assert errors.splitlines()[-1].startswith("error: env=dying:Dying-v0: ")
    assert result_of(folder)["status"] == "failed"
    assert (folder / "checkpoints" / "last").exists()
    with lock_runs([folder]):
        shutil.rmtree(folder)
