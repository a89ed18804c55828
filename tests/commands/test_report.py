from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import write_run
from made_up_searches import write_search

Typed = Callable[..., int]
SHORT = ("steps=200", "network.widths=[8]", "eval.every=50", "eval.episodes=2")
SWEEP = ("-m", "seed=0,1", "update=dqn,double", *SHORT, "hydra.sweep.dir=sweep")


def test_a_sweep_becomes_a_page(
    type_train: Typed, type_report: Typed, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_train(*SWEEP) == 0
    capsys.readouterr()
    assert type_report("sweep", "by=update") == 0
    assert capsys.readouterr().out == "4 runs reported in report/report.html\n"
    page = (in_folder / "report" / "report.html").read_text()
    assert "too few seeds to tell" in page
    assert "update=double" in page
    assert "has not ended" not in page
    (in_folder / "sweep" / ".command.json").write_text("{}")
    assert type_report("sweep", "sweep", "out=other") == 0  # a run counts once
    other = (in_folder / "other" / "report.html").read_text()
    assert other.count("sweep has not ended, so runs may be missing.") == 1
    assert "4 runs" in capsys.readouterr().out
    assert (in_folder / "other" / "curves.png").is_file()


def test_a_search_is_reported_by_its_finalists(
    type_report: Typed, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search = in_folder / "search"
    write_run(search, ["gamma=0.9", "seed=0"], [9.0], stopped="stop.step=100 reached")
    write_run(search, ["gamma=0.8", "seed=0"], [5.0, 7.0])
    (search / "search.db").touch()
    (search / ".command.json").write_text("{}")
    assert type_report("search", "out=early") == 0
    early = (in_folder / "early" / "report.html").read_text()
    assert "No two choices have finished runs" in early  # the other one paused
    assert "Only finished runs count: 1 paused and 1 finished." in early
    assert "search is a search without finalists yet, and the highest score" in early
    assert "search has not ended" in early
    assert "The trials of search are not shown: search/search.db can&#39;t be used" in early
    assert 'id="search"' not in early
    (search / "search.db").unlink()
    write_search(search / "search.db", complete=2, pruned=1)
    write_run(search / "fresh", ["gamma=0.8", "seed=1000"], [3.0, 6.0])
    (search / ".command.json").write_text('{"ended": true}')
    assert type_report("search", "out=late") == 0
    late = (in_folder / "late" / "report.html").read_text()
    assert "This setting scores 6.00 on CartPole-v1" in late
    assert "search is a search: these are its finalists on fresh seeds" in late
    assert "has not ended" not in late
    assert "<b>search</b>: 3 trials of 2 runs each: 2 trained to the end, 1 pruned." in late
    assert "without pruning, they would have taken 6,000" in late
    assert '<td class="number">100</td><td class="number">3</td>' in late
    assert (in_folder / "late" / "trials.csv").is_file()
    assert capsys.readouterr().out.splitlines()[-1] == "1 run reported in late/report.html"


def test_without_the_extra_a_search_is_reported_by_its_runs(
    type_report: Typed, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_run(in_folder / "search", ["gamma=0.8", "seed=0"], [5.0, 7.0])
    write_search(in_folder / "search" / "search.db", complete=1)
    monkeypatch.setitem(sys.modules, "optuna", None)
    for name in [name for name in sys.modules if name.startswith("dqn_cli.searching.stud")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "dqn_cli.searching.stored_search", raising=False)
    assert type_report("search") == 0
    page = (in_folder / "report" / "report.html").read_text()
    assert "The trials of search need an extra: pip install &#39;dqn-train[search]&#39;." in page


def test_wrong_keys_are_named(
    type_train: Typed, type_report: Typed, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert type_train(*SHORT, "update=dqn", "hydra.run.dir=run") == 0
    (in_folder / "file").touch()
    for words, told in (
        (("by=updat",), "by=updat: no run was started with it; did you mean update?"),
        (("by=update,",), "by=update,: no run was started with it"),
        (("by=seed",), "by=seed: environments and seeds are told apart anyway"),
        (("out=a.html",), "out=a.html is no folder: name one, as in out=report, for report.html"),
        (("out=file",), "out=file names a file: name a folder, as in out=report"),
        (("out=file/inside",), "out=file/inside: can't write there: Not a directory"),
    ):
        assert type_report("run", *words) == 1
        assert told in capsys.readouterr().err.splitlines()[-1]
    assert type_report("run") == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [(["nowhere"], "no run at nowhere"), (["x=steps"], "dqn-report takes by, out")],
)
def test_bad_input_is_one_line_and_writes_nothing(
    type_report: Typed,
    in_folder: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    told: str,
) -> None:
    assert type_report(*words) == 1
    assert told in capsys.readouterr().err.splitlines()[-1]
    assert list(in_folder.iterdir()) == []
