from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from dqn_cli.runs.locks import LOCKED, InUse, locked

HOLDER = """
import sys, time
from pathlib import Path
from dqn_cli.runs.locks import locked
with locked([Path(sys.argv[1])]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        (folder / LOCKED).parent.mkdir(parents=True)
        (folder / LOCKED).write_text("seed: 0\n")
    return folders


def is_free(run: Path) -> bool:
    try:
        with locked([run]):
            return True
    except InUse:
        return False


def test_a_run_is_kept_until_the_end_and_then_free(runs: list[Path]) -> None:
    with locked(runs):
        for run in runs:
            reason = f"{run} is being trained by another process: wait"
            with pytest.raises(InUse, match=reason), locked([run]):
                pytest.fail("two have it")
    assert all(map(is_free, runs))


def test_what_fails_keeps_nothing(runs: list[Path]) -> None:
    with pytest.raises(ValueError, match="why"), locked(runs):
        raise ValueError("why")
    assert all(map(is_free, runs))


def test_all_of_them_or_none(runs: list[Path]) -> None:
    first, second = runs
    with locked([second]):
        with pytest.raises(InUse, match="second"), locked(runs):
            pytest.fail("one of them is in use")
        assert is_free(first)


def test_nothing_is_written(runs: list[Path]) -> None:
    before = [path.stat().st_mtime_ns for run in runs for path in (run, run / LOCKED)]
    with locked(runs):
        pass
    assert before == [path.stat().st_mtime_ns for run in runs for path in (run, run / LOCKED)]
    assert (runs[0] / LOCKED).read_text() == "seed: 0\n"


def test_where_there_are_no_locks_nothing_is_kept(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with locked([tmp_path / "no folder"]):
        pass
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with locked(runs), locked(runs):
        pass


def test_a_process_that_is_killed_keeps_nothing(runs: list[Path]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(runs[0])], stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert not is_free(runs[0])
        other.kill()
        other.wait()
    assert is_free(runs[0])
