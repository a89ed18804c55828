from __future__ import annotations

import ctypes
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dqn_cli.checking.tasks import MADE, Progress, TaskResult, run_task
from dqn_cli.envs.contract import EnvironmentFailure


def answer(progress: Progress) -> int:
    return os.getpid()


def hang(progress: Progress) -> None:
    progress.report(12)
    time.sleep(1_000)


def hang_with_a_child(progress: Progress) -> None:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    Path(os.environ["CHILD_FILE"]).write_text(str(child.pid))
    time.sleep(1_000)


def work_slowly(progress: Progress) -> str:
    for step in range(8):
        progress.report(step)
        time.sleep(0.1)
    return "done"


def crash(progress: Progress) -> None:
    progress.report(0)
    ctypes.string_at(0)


def leave(progress: Progress) -> None:
    os._exit(7)


def fail(progress: Progress) -> None:
    raise EnvironmentFailure("env=Mine-v0: in one line")


def stop(progress: Progress) -> None:
    progress.report(3)
    raise SystemExit(5)


def print_noise(progress: Progress) -> None:
    print("noise", flush=True)
    print("noise", file=sys.stderr, flush=True)


def draw(progress: Progress) -> tuple[float, float]:
    return random.random(), float(np.random.random())  # noqa: NPY002


def test_a_task_runs_in_a_process_of_its_own() -> None:
    result = run_task(answer, 5)
    assert result.failure is None
    assert result.value not in (None, os.getpid())
    with pytest.raises(ProcessLookupError):
        os.kill(result.value, 0)


@pytest.mark.parametrize(
    ("task", "failure"),
    [
        (crash, "its process was killed by SIGSEGV in reset"),
        (leave, "its process ended with exit code 7 while it was made"),
        (fail, "env=Mine-v0: in one line"),
    ],
)
def test_an_end_without_a_result_is_told(task: object, failure: str) -> None:
    assert run_task(task, 5) == TaskResult(failure=failure)  # type: ignore[arg-type]


def test_a_raised_exit_is_told_with_its_place() -> None:
    failure = run_task(stop, 5).failure or ""
    assert failure.startswith("it raised SystemExit: 5 (")
    assert failure.endswith(") in step 3")


def test_a_hang_is_ended_after_patience_without_a_report() -> None:
    start = time.monotonic()
    result = run_task(hang, 0.4)
    assert result.failure == "it did not answer within 0.4 s in step 12"
    assert time.monotonic() - start < 3


def test_reports_keep_a_slow_task_alive_until_the_limit() -> None:
    assert run_task(work_slowly, 0.6).value == "done"
    assert (run_task(work_slowly, 0.6, 0.2).failure or "").startswith("no time was left")


def test_children_of_a_task_are_killed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "child"
    monkeypatch.setenv("CHILD_FILE", str(file))
    run_task(hang_with_a_child, 1)
    child = Path("/proc") / file.read_text()
    deadline = time.monotonic() + 5
    while child.exists() and "\nState:\tZ" not in (child / "status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_task_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    run_task(print_noise, 5)
    assert capfd.readouterr() == ("", "")


def test_global_random_numbers_differ_between_tasks() -> None:
    first, second = run_task(draw, 5).value, run_task(draw, 5).value
    assert first[0] != second[0]
    assert first[1] != second[1]


def test_ctrl_c_kills_the_task(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def interrupt(*arguments: object) -> None:
        seen.append(1)
        raise KeyboardInterrupt

    monkeypatch.setattr("dqn_cli.checking.tasks.wait", interrupt)
    before = {path.name for path in Path("/proc").glob("[0-9]*")}
    with pytest.raises(KeyboardInterrupt):
        run_task(hang, 100)
    assert seen
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    status = [
        path for path in Path("/proc").glob("[0-9]*/status") if path.parent.name not in before
    ]
    parent = f"PPid:\t{os.getpid()}\n"
    assert not any(parent in path.read_text() for path in status if path.exists())


@pytest.mark.parametrize(
    ("step", "place"), [(MADE, "while it was made"), (0, "in reset"), (1_234, "in step 1,234")]
)
def test_places_are_words(step: int, place: str) -> None:
    import multiprocessing

    progress = Progress(multiprocessing.get_context())
    progress.report(step)
    assert progress.place == place
    assert progress.seconds_ago < 1
