from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import write_run

from dqn_cli.commands.run_discovery import (
    RunInfo,
    find_runs,
    load_run_info,
    load_runs,
    run_label,
    shown_folder,
    varied_keys,
)
from dqn_cli.config.validation import ConfigError

Typed = Callable[..., int]


def run(**overrides: str) -> RunInfo:
    return RunInfo(Path(), "A", overrides)


def test_runs_vary_in_what_differs_but_the_seed() -> None:
    runs = [run(seed="0", gamma="1"), run(seed="1", gamma="1", update="dqn")]
    assert varied_keys(runs) == ["update"]
    assert varied_keys(runs[:1]) == []


@pytest.mark.parametrize(
    ("varied", "label"),
    [
        (["gamma"], "gamma=0.9"),
        (["env", "gamma"], "env=A, gamma=0.9"),
        (["update"], "update=default"),
        ([], ""),
    ],
)
def test_a_label_names_what_is_varied(varied: list[str], label: str) -> None:
    assert run_label(RunInfo(Path(), "A", {"gamma": "0.9", "seed": "3"}), varied) == label


def test_a_sweep_has_runs_and_a_run_has_none(type_train: Typed, in_folder: Path) -> None:
    words = ("steps=40", "learning_starts=20", "network.widths=[4]", "eval.episodes=1")
    assert type_train("-m", "gamma=0.5,0.9", *words, "hydra.sweep.dir=sweep") == 0
    (in_folder / "sweep" / "plots").mkdir()
    first, second = find_runs(Path("sweep"))
    assert find_runs(first) == []
    assert [load_run_info(each).overrides["gamma"] for each in (first, second)] == ["0.5", "0.9"]
    assert load_run_info(first).env == "CartPole-v1"
    assert varied_keys([load_run_info(first), load_run_info(second)]) == ["gamma"]


def test_where_no_run_is_the_error_says_what_is_taken(in_folder: Path) -> None:
    with pytest.raises(ConfigError, match="no run at colour=red; dqn-plot takes out, by"):
        load_runs(Path("colour=red"), "dqn-plot", ("out", "by"))
    with pytest.raises(ConfigError, match=f"no run in {in_folder}"):
        load_runs(in_folder, "dqn-plot", ())


def test_a_search_is_shown_by_its_finalists_once_there_are_some(
    in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = Path("search")
    trial = write_run(in_folder / "search", ["gamma=0.8", "seed=0"], [5.0])
    assert [run.folder for run in load_runs(search, "dqn-plot", ())] == [Path("search", trial.name)]
    (search / "search.db").touch()
    assert shown_folder(search) == search
    fresh = write_run(in_folder / "search" / "fresh", ["gamma=0.8", "seed=1000"], [3.0])
    shown = load_runs(search, "dqn-plot", ())
    assert [run.folder for run in shown] == [Path("search", "fresh", fresh.name)]
    assert "search is a search: its finalists on fresh seeds are shown" in capsys.readouterr().err
    assert shown_folder(trial) == trial
