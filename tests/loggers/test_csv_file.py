from __future__ import annotations

import csv
import time
from pathlib import Path

import pytest

from dqn_cli.loggers.csv_file import FILE, Csv
from dqn_cli.loggers.logger import Log, LoggedRun
from dqn_cli.loggers.run_loggers import RunLoggers, wait_until_closed

FULL = Path("/dev/full")


def opened(folder: Path, step: int = 0) -> Log:
    return Csv().begin(LoggedRun(folder, "", {}, step))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / FILE).open() as file:
        return list(csv.DictReader(file))


def test_each_row_is_a_line_that_is_on_disk_at_once(tmp_path: Path) -> None:
    log = opened(tmp_path)
    assert rows(tmp_path) == []
    log.row({"train/loss": 0.1, "time/fps": 20}, 10)
    assert rows(tmp_path) == [{"step": "10", "train/loss": "0.1", "time/fps": "20.0"}]
    log.row({"time/fps": 30}, 20)
    assert rows(tmp_path)[1] == {"step": "20", "train/loss": "", "time/fps": "30.0"}


def test_a_metric_that_comes_later_gets_a_column_in_all_lines(tmp_path: Path) -> None:
    log = opened(tmp_path)
    log.row({"time/fps": 1}, 10)
    log.row({"eval/mean_reward": 5, "time/fps": 2}, 20)
    assert list(rows(tmp_path)[0]) == ["step", "time/fps", "eval/mean_reward"]
    assert [row["eval/mean_reward"] for row in rows(tmp_path)] == ["", "5.0"]


def test_a_number_comes_back_as_it_was(tmp_path: Path) -> None:
    log, number = opened(tmp_path), 0.1 + 0.2
    log.row({"a": number, "b": float("nan"), "c": float("inf")}, 1)
    (row,) = rows(tmp_path)
    assert float(row["a"]) == number
    assert (row["b"], row["c"]) == ("nan", "inf")


def test_a_resumed_run_drops_the_rows_that_come_again(tmp_path: Path) -> None:
    first = opened(tmp_path)
    for step in (10, 20, 30):
        first.row({"loss": step}, step)
    first.close()
    second = opened(tmp_path, step=20)
    second.row({"loss": 31, "new": 1}, 30)
    assert [(row["step"], row["loss"]) for row in rows(tmp_path)] == [
        ("10", "10.0"), ("20", "20.0"), ("30", "31.0"),
    ]  # fmt: skip


@pytest.mark.skipif(not FULL.exists(), reason="there is no device that is always full")
def test_a_full_disk_costs_the_rows_and_not_the_run(tmp_path: Path) -> None:
    warned: list[str] = []
    loggers = RunLoggers({"csv": Csv()}, LoggedRun(tmp_path, "", {}), warned.append)
    loggers.row({"loss": 1}, 10)
    while not (tmp_path / FILE).is_file() or not rows(tmp_path):
        time.sleep(0.01)
    (tmp_path / FILE).unlink()
    (tmp_path / FILE).symlink_to(FULL)
    for step in (20, 30):
        loggers.row({"loss": 2}, step)
    loggers.close({})
    wait_until_closed([loggers], 10, lambda: False, pytest.fail)
    assert warned == [f"{tmp_path}: csv rows end here: [Errno 28] No space left on device"]


def test_a_line_that_a_killed_process_did_not_finish_is_dropped(tmp_path: Path) -> None:
    opened(tmp_path).row({"loss": 1}, 10)
    with (tmp_path / FILE).open("a") as file:
        file.write("2")  # of step 20
    opened(tmp_path, step=15).row({"loss": 2}, 20)
    assert [row["step"] for row in rows(tmp_path)] == ["10", "20"]
