from __future__ import annotations

from pathlib import Path

import pytest
from made_up_searches import SPACE, write_search

from dqn_cli.reporting.search_paintings import draw_importances, draw_trials, position, ticks
from dqn_cli.searching.space import Choice, Decimal, Domain, Value, Whole

LOG = Decimal(1e-4, 1e-2, log=True)
WORDS = Choice(("[8]", "[64,64]"))


@pytest.mark.parametrize(
    ("domain", "value", "expected"),
    [
        (LOG, 1e-3, 0.5),
        (Whole(1, 5), 2, 0.25),
        (Decimal(0.1, 0.9), 0.9, 1.0),
        (WORDS, "[8]", 0.25),
        (WORDS, "[64,64]", 0.75),
    ],
)
def test_a_value_has_a_place_on_its_scale(domain: Domain, value: Value, expected: float) -> None:
    assert position(domain, value) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("domain", "texts"),
    [
        (LOG, ["0.0001", "0.001", "0.01"]),
        (Decimal(9e-5, 1.2e-3, log=True), ["9e-05", "0.0012"]),
        (Whole(0, 10), ["0", "5", "10"]),
        (WORDS, ["[8]", "[64,64]"]),
        (Choice(tuple("abcdefghijklmnopqrstuvwxyz")), list("abcdefghijklmnopqrstuvwxyz")),
        (Choice(("a" * 60, "b")), ["a" * 24 + "…", "b"]),
    ],
)
def test_a_scale_has_texts_that_do_not_overlap(domain: Domain, texts: list[str]) -> None:
    assert [text for _, text in ticks(domain)] == texts


def test_kinds_of_trials_differ_in_colour_and_dashes(tmp_path: Path) -> None:
    trials = write_search(tmp_path / "search.db", complete=3, pruned=2, failed=1).records()
    chart = draw_trials(SPACE.domains, trials, tmp_path, "trials")
    legend = ("pruned", "failed", "trained to the end", "best score")
    assert all(f">{label}</text>" in chart.svg for label in legend)
    assert chart.svg.count("stroke-dasharray") >= 3  # two pruned, one failed
    assert "optimizer." in chart.svg
    assert "lr (log)" in chart.svg
    assert "only trials that were trained to the end have a score" in chart.caption
    assert (tmp_path / "trials.png").is_file()


def test_before_a_trial_has_a_score_there_is_no_row_for_it(tmp_path: Path) -> None:
    trials = write_search(tmp_path / "search.db", complete=0, pruned=2).records()
    chart = draw_trials(SPACE.domains, trials, tmp_path, "trials")
    assert ">score</text>" not in chart.svg
    assert "best score" not in chart.svg


def test_trials_that_still_train_are_drawn(tmp_path: Path) -> None:
    study = write_search(tmp_path / "search.db", complete=0)
    study.ask(0)
    chart = draw_trials(SPACE.domains, study.records(), tmp_path, "trials")
    assert ">not ended</text>" in chart.svg
    assert "var(--c1)" in chart.svg


def test_importances_are_bars_with_their_shares(tmp_path: Path) -> None:
    chart = draw_importances({"gamma": 0.2, "optimizer.lr": 0.8}, tmp_path, "importance")
    assert "80%" in chart.svg
    assert chart.svg.index("optimizer.") < chart.svg.index("gamma")
