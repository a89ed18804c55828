from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from dqn_cli.runs.locks import LOCK_FILE, InUse, lock_folder, lock_runs

HOLDER = """
import sys, time
from pathlib import Path
from dqn_cli.runs.locks import lock_runs
with lock_runs([Path(sys.argv[1])]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        (folder / LOCK_FILE).parent.mkdir(parents=True)
        (folder / LOCK_FILE).write_text("seed: 0\n")
    return folders


def is_free(run: Path) -> bool:
    try:
        with lock_runs([run]):
            return True
    except InUse:
        return False


def test_a_run_is_locked_until_the_block_ends(runs: list[Path]) -> None:
    with lock_runs(runs):
        for run in runs:
            reason = f"{run} is being trained by another process: wait"
            with pytest.raises(InUse, match=reason), lock_runs([run]):
                pytest.fail("two have it")
    assert all(map(is_free, runs))


def test_a_failure_releases_the_locks(runs: list[Path]) -> None:
    with pytest.raises(ValueError, match="why"), lock_runs(runs):
        raise ValueError("why")
    assert all(map(is_free, runs))


def test_either_all_runs_are_locked_or_none(runs: list[Path]) -> None:
    first, second = runs
    with lock_runs([second]):
        with pytest.raises(InUse, match="second"), lock_runs(runs):
            pytest.fail("one of them is in use")
        assert is_free(first)


def test_locking_writes_nothing(runs: list[Path]) -> None:
    before = [path.stat().st_mtime_ns for run in runs for path in (run, run / LOCK_FILE)]
    with lock_runs(runs):
        pass
    assert before == [path.stat().st_mtime_ns for run in runs for path in (run, run / LOCK_FILE)]
    assert (runs[0] / LOCK_FILE).read_text() == "seed: 0\n"


def test_nothing_is_locked_where_the_system_has_no_locks(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with lock_runs([tmp_path / "no folder"]):
        pass
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with lock_runs(runs), lock_runs(runs):
        pass


def test_a_killed_process_releases_its_locks(runs: list[Path]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(runs[0])], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert not is_free(runs[0])
        other.kill()
        other.wait()
    assert is_free(runs[0])


def test_a_process_that_an_environment_forks_does_not_keep_the_lock(runs: list[Path]) -> None:
    receiver, sender = os.pipe()
    with lock_runs(runs):
        child = os.fork()
        if child == 0:
            os.read(receiver, 1)
            os._exit(0)
        assert not is_free(runs[0])
    try:
        assert is_free(runs[0])
    finally:
        os.write(sender, b" ")
        os.waitpid(child, 0)


def test_a_folder_is_locked_until_its_stack_is_closed(tmp_path: Path) -> None:
    with ExitStack() as first, ExitStack() as second:
        lock_folder(tmp_path, first)
        with pytest.raises(InUse):
            lock_folder(tmp_path, second)
        first.close()
        lock_folder(tmp_path, second)
