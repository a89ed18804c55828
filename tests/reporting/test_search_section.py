from __future__ import annotations

import csv
from pathlib import Path

from made_up_searches import write_search

from dqn_cli.reporting.page import SearchSection
from dqn_cli.reporting.search_section import search_section
from dqn_cli.searching.stored_search import read_search


def section(folder: Path, number: int = 0, **trials: int) -> SearchSection:
    write_search(folder / "search.db", **trials)
    return search_section("mine", read_search(folder / "search.db"), folder, number)


def test_a_section_says_what_was_tried_and_what_pruning_saved(tmp_path: Path) -> None:
    found = section(tmp_path, complete=12, pruned=3, failed=1)
    assert found.name == "mine"
    assert found.summary == ("16 trials of 2 runs each: 12 trained to the end, 3 pruned, 1 failed.")
    assert [chart.name for chart in found.charts] == ["importance", "trials"]
    assert found.rungs == [("100", "15", "3", "12")]
    assert found.pruning.startswith(
        "15 trials took 24,600 environment steps; without pruning, they would have taken 30,000"
        " (82% were enough)."
    )


def test_trials_are_a_table(tmp_path: Path) -> None:
    found = section(tmp_path, number=1, complete=1, pruned=1)
    assert found.csv == "trials_2.csv"
    with (tmp_path / found.csv).open() as file:
        first, second = csv.DictReader(file)
    assert (first["state"], first["step"]) == ("complete", "1000")
    assert float(first["score"]) == 10 * float(first["replay.n_step"])
    assert (second["state"], second["score"], second["step"]) == ("pruned", "", "100")


def test_few_trials_have_no_importances(tmp_path: Path) -> None:
    found = section(tmp_path, complete=2)
    assert [chart.name for chart in found.charts] == ["trials"]
    assert found.summary.endswith("from 10 trials on that were trained to the end.")


def test_a_search_that_has_just_begun_has_no_charts(tmp_path: Path) -> None:
    found = section(tmp_path, complete=0)
    assert found.charts == []
    assert found.summary.startswith("0 trials of 2 runs each: none yet.")
    assert found.pruning == "No trial was compared before its end, so there was no pruning."


def test_without_a_trial_at_its_end_savings_are_not_known(tmp_path: Path) -> None:
    assert section(tmp_path, complete=0, pruned=2).pruning.endswith("saves is not known.")
