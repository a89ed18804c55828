from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from scripted_logs import Hanging, Noted

from dqn_cli.loggers.logger import LoggedRun, Logger
from dqn_cli.loggers.run_loggers import IDS, RunLoggers, read_ids, wait_until_closed
from dqn_cli.storage import CheckpointError


def opened(loggers: dict[str, Logger], folder: Path, warned: list[str] | None = None) -> RunLoggers:
    run = LoggedRun(folder, "sweep", {"seed": 3})
    return RunLoggers(loggers, run, pytest.fail if warned is None else warned.append)


def closed(loggers: RunLoggers) -> None:
    loggers.close({"status": "finished"})
    wait_until_closed([loggers], 10, lambda: False, pytest.fail)


def test_all_loggers_get_rows_and_the_outcome_and_those_that_keep_files_get_them(
    tmp_path: Path,
) -> None:
    one, other = Noted(), Noted(keeps=True)
    loggers = opened({"one": one, "other": other}, tmp_path)
    loggers.row({"loss": 1.0}, 5)
    file, video = tmp_path / "result.json", tmp_path / "a.mp4"
    loggers.video(video, 5, only_keepers=True)
    loggers.close({"best/mean": 2.0}, [file])
    wait_until_closed([loggers], 10, lambda: False, pytest.fail)
    row, outcome = ({"loss": 1.0}, 5), ("summary", {"best/mean": 2.0})
    assert one.notes == [row, outcome, "closed"]
    assert other.notes == [row, ("video", video, 5), outcome, ("file", file), "closed"]
    assert loggers.keep_video
    assert one.runs[0].hyperparameters == {"seed": 3}
    assert (one.runs[0].name, one.runs[0].group) == (tmp_path.name, "sweep")


def test_films_that_the_run_asked_for_are_given_to_all(tmp_path: Path) -> None:
    one, other = Noted(), Noted(keeps=True)
    loggers = opened({"one": one, "other": other}, tmp_path)
    loggers.video(tmp_path / "a.mp4", 5)
    closed(loggers)
    assert one.notes[0] == other.notes[0] == ("video", tmp_path / "a.mp4", 5)


def test_a_resumed_run_gets_the_ids_of_its_logs(tmp_path: Path) -> None:
    for _ in range(2):
        loggers: dict[str, Logger] = {"a": Noted("id-a"), "b": Noted("id-b"), "c": Noted()}
        closed(opened(loggers, tmp_path))
    assert read_ids(tmp_path) == {"a": "id-a", "b": "id-b"}
    ids = [logger.runs[0].id for logger in loggers.values() if isinstance(logger, Noted)]
    assert ids == ["id-a", "id-b", None]


def test_damaged_ids_cost_the_old_logs_and_not_the_run(tmp_path: Path) -> None:
    (tmp_path / IDS).write_text(json.dumps({"a": 3}))
    with pytest.raises(CheckpointError, match=r"loggers\.json is damaged: a is 3"):
        read_ids(tmp_path)
    logger, warned = Noted("new"), list[str]()
    closed(opened({"a": logger}, tmp_path, warned))
    assert len(warned) == 1
    assert "its logs begin anew" in warned[0]
    assert read_ids(tmp_path) == {"a": "new"}


def test_a_logger_that_never_closes_is_waited_for_and_then_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dqn_cli.loggers.run_loggers.QUIET_SECONDS", 0.05)
    other, warned, said = Noted(), list[str](), list[str]()
    loggers = opened({"slow": Hanging(), "other": other}, tmp_path, warned)
    loggers.row({"loss": 1.0}, 1)
    loggers.close({})
    wait_until_closed([loggers], 0.2, lambda: False, said.append)
    assert said == ["waiting for logger=slow; Ctrl-C ends the wait"]
    assert warned == [f"{tmp_path}: slow rows end here: the run ended before it was done"]
    assert other.notes[-1] == "closed"


def test_a_signal_ends_the_wait(tmp_path: Path) -> None:
    warned: list[str] = []
    loggers = opened({"slow": Hanging()}, tmp_path, warned)
    loggers.row({"loss": 1.0}, 1)
    loggers.close({})
    begun = time.monotonic()
    wait_until_closed([loggers], 60, lambda: True, pytest.fail)
    assert time.monotonic() - begun < 10
    assert len(warned) == 1
