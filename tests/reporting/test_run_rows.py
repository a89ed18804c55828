from __future__ import annotations

import json
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
from fake_runs import write_run

from dqn_cli.reporting.run_rows import RunRow, mark_repeated, read_row
from dqn_cli.runs.locks import lock_runs
from dqn_cli.runs.manifest import note_failure


def test_a_finished_run_is_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path, ["update=double", "seed=3"], [1.0, 5.0, 4.0], members=8)
    row = read_row(folder, "CartPole-v1", "update=double")
    assert row.has_finished
    assert (row.seed, row.final, row.fresh, row.steps, row.members) == ("3", 4, None, 300, 8)
    assert row.seconds == 6
    assert row.versions == {"python": "3.11.7", "torch": "2.13.0"}
    assert row.curve is not None
    assert row.curve.returns.tolist() == [1, 5, 4]


def test_the_report_of_dqn_eval_is_read(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [], [1.0])
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints" / "evaluation.json").write_text(json.dumps({"mean": 2.5}))
    assert read_row(folder, "CartPole-v1", "").fresh == 2.5


def test_a_run_that_was_paused_has_no_score(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [], [1.0], stopped="stop.step=100 reached")
    row = read_row(folder, "CartPole-v1", "")
    assert (row.status, row.has_finished) == ("paused", False)
    folder = write_run(tmp_path, [], [1.0], stopped="stop.at=1 reached")
    assert read_row(folder, "CartPole-v1", "").has_finished


def test_a_run_with_the_settings_and_seed_of_another_counts_once() -> None:
    def row(folder: str, *words: str, status: str = "finished", env: str = "A") -> RunRow:
        return RunRow(Path(folder), env, "", words, status)

    rows = [
        row("failed", "seed=0", status="failed"), row("first", "seed=0"), row("again"),
        row("gamma", "gamma=0.9", "seed=0"), row("seed", "seed=1"), row("env", "seed=0", env="B"),
        row("ordered", "seed=0", "gamma=0.9"),
    ]  # fmt: skip
    marked = {row.folder.name: row for row in mark_repeated(rows)}
    assert {name for name, row in marked.items() if row.has_finished} == {
        "first", "gamma", "seed", "env",
    }  # fmt: skip
    assert (marked["again"].status, marked["again"].error) == (
        "repeated",
        "settings and seed of first",
    )


def test_words_typed_later_count(tmp_path: Path) -> None:
    folder = write_run(tmp_path, ["steps=5"], [1.0], overrides=["steps=5", "steps=9"])
    assert read_row(folder, "CartPole-v1", "").overrides == {"steps": "9"}


def test_a_failed_run_says_what_failed(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [], status="failed", error="no room\nleft")
    row = read_row(folder, "CartPole-v1", "")
    assert (row.status, row.error, row.final, row.curve) == ("failed", "no room left", None, None)


def test_a_run_whose_settings_were_refused_says_why(tmp_path: Path) -> None:
    folder = write_run(tmp_path, ["head=c51"], status=None)
    note_failure(folder, "head=c51 needs\nmore")
    row = read_row(folder, "CartPole-v1", "")
    assert (row.status, row.error, row.members) == ("failed", "head=c51 needs more", None)


def test_a_pause_is_no_end(tmp_path: Path) -> None:
    words = ["stop.step=100"]
    paused = write_run(tmp_path, words, [1.0], stopped="stop.step=100 reached")
    row = read_row(paused, "CartPole-v1", "")
    assert (row.status, row.has_finished, row.goes_on) == ("paused", False, True)
    early = write_run(tmp_path, ["stop.at=1"], [1.0], stopped="stop.at=1 reached: 1")
    row = read_row(early, "CartPole-v1", "")
    assert (row.status, row.has_finished, row.goes_on) == ("finished", True, False)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"status": 5}, "status"),
        ({"stopped": 5}, "stopped"),
        ({"final": {"mean": "high"}}, "final.mean"),
        ({"best": 3}, "best"),
    ],
)
def test_a_damaged_result_is_a_status_with_its_reason(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    folder = write_run(tmp_path, [], [1.0], **changes)
    row = read_row(folder, "CartPole-v1", "")
    assert row.status == "damaged"
    assert row.error is not None
    assert named in row.error
    assert "result.json" in row.error


def test_a_damaged_event_file_leaves_no_curve(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [], [1.0])
    (file,) = folder.glob("events.*")
    file.write_bytes(file.read_bytes()[:10] + b"x" * 40)
    row = read_row(folder, "CartPole-v1", "")
    assert row.has_finished
    assert row.curve is None
    assert row.error is not None
    assert "damaged" in row.error


def hold(folder: Path, connection: Any) -> None:
    with lock_runs([folder]):
        connection.send("held")
        connection.recv()


@pytest.mark.parametrize("status", [None, "interrupted"])
def test_a_run_that_another_process_trains_is_running(tmp_path: Path, status: str | None) -> None:
    folder = write_run(tmp_path, [], [1.0], status=status)
    assert read_row(folder, "CartPole-v1", "").status == (status or "no result")
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=hold, args=(folder, theirs), daemon=True)
    process.start()
    assert ours.recv() == "held"
    try:
        row = read_row(folder, "CartPole-v1", "")
    finally:
        ours.send("enough")
        process.join()
    assert row.status == "running"
    assert row.curve is not None


def test_a_run_with_settings_alone_has_not_begun(tmp_path: Path) -> None:
    folder = write_run(tmp_path, [], status=None)
    (folder / ".hydra" / "plan").write_bytes(b"settings")
    assert read_row(folder, "CartPole-v1", "").status == "not begun"
