from __future__ import annotations

import json
from pathlib import Path

import pytest

from dqn_cli.commands.sweeps import end_sweep, finishing_words, has_ended, unfinished_command
from dqn_cli.config.current_command import Command, Sweep
from dqn_cli.config.run_folders import COMMAND_FILE

Lines = pytest.CaptureFixture[str]


def begin(sweep: Path, *words: str) -> None:
    sweep.mkdir()
    (sweep / COMMAND_FILE).write_text(json.dumps({"words": list(words)}))
    (sweep / "multirun.yaml").write_text("")
    Sweep.folder = sweep


def add_run(sweep: Path, name: str, status: str | None) -> None:
    files = sweep / name / ".hydra"
    files.mkdir(parents=True)
    (files / "overrides.yaml").write_text("- seed=1\n")
    (files / "config.yaml").write_text("env: {id: CartPole-v1}\n")
    (files / "hydra.yaml").write_text("hydra: {job: {num: 0}}\n")
    (files / "plan").touch()
    if status:
        result = {"status": status, "overrides": [], "best": None, "seconds": {"total": 1.0}}
        (sweep / name / "result.json").write_text(json.dumps(result))


def test_the_words_of_a_sweep_begin_its_other_jobs(tmp_path: Path) -> None:
    assert unfinished_command(tmp_path) is None
    begin(tmp_path / "it's", "-m", "seed=0,1", "hydra.sweep.dir=elsewhere")
    words = unfinished_command(tmp_path / "it's")
    assert words == ["-m", "seed=0,1"]
    finishing = finishing_words(Path("it's"), words, ["steps=9"])
    assert finishing == ["-m", "seed=0,1", "steps=9", r"hydra.sweep.dir='it\'s'"]


def test_a_sweep_that_never_began_leaves_no_folder(tmp_path: Path) -> None:
    with Command.begin([]):
        begin(tmp_path / "sweep")
        end_sweep(succeeded=False)
    assert not (tmp_path / "sweep").exists()


@pytest.mark.parametrize(
    ("status", "goes_on"),
    [("finished", False), ("failed", False), ("interrupted", True), (None, True)],
)
def test_the_last_line_says_how_to_go_on(
    in_folder: Path, capsys: Lines, status: str | None, goes_on: bool
) -> None:
    with Command.begin([]):
        begin(Path("sweep"), "-m")
        add_run(Path("sweep"), "0_seed-1", status)
        end_sweep(succeeded=False)
    hint = "interrupted; go on with: dqn-train resume=sweep"
    lines = capsys.readouterr().out.splitlines()
    assert (lines[-1] == hint) is goes_on
    assert unfinished_command(Path("sweep")) == ["-m"]
    with Command.begin([]):
        Sweep.folder = Path("sweep")
        end_sweep(succeeded=True)
    assert unfinished_command(Path("sweep")) is None


def test_a_sweep_has_ended_once_all_its_jobs_had_their_turn(tmp_path: Path) -> None:
    assert has_ended(tmp_path)
    with Command.begin([]):
        begin(tmp_path / "sweep", "-m")
        add_run(tmp_path / "sweep", "0_seed-1", "failed")
        end_sweep(succeeded=False)
        assert not has_ended(tmp_path / "sweep")
        end_sweep(succeeded=False, all_begun=True)
    assert has_ended(tmp_path / "sweep")
    assert unfinished_command(tmp_path / "sweep") == ["-m"]


def test_a_search_keeps_its_command_and_has_ended(tmp_path: Path) -> None:
    with Command.begin([]):
        begin(tmp_path / "sweep", "-m")
        add_run(tmp_path / "sweep", "0_seed-1", "finished")
        (tmp_path / "sweep" / "search.db").touch()
        end_sweep(succeeded=True, all_begun=True)
    assert has_ended(tmp_path / "sweep")
    assert unfinished_command(tmp_path / "sweep") == ["-m"]


def test_a_single_run_is_no_sweep(capsys: Lines) -> None:
    with Command.begin([]):
        end_sweep(succeeded=True)
    assert not capsys.readouterr().out
