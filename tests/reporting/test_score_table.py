from __future__ import annotations

from pathlib import Path

import pytest

from dqn_cli.reporting.run_rows import RunRow
from dqn_cli.reporting.score_table import FINAL, FRESH, tabulate


def row(choice: str, final: float | None, env: str = "A", **fields: object) -> RunRow:
    known = {"status": "finished", "words": [], **fields}
    return RunRow(Path("run"), env, choice, final=final, **known)  # type: ignore[arg-type]


def test_choices_are_listed_best_first() -> None:
    table = tabulate([row("low", 1.0), row("high", 5.0), row("high", 7.0), row("low", 2.0)])
    assert {label: values[0].tolist() for label, values in table.choices.items()} == {
        "high": [5, 7],
        "low": [1, 2],
    }
    assert table.kind == FINAL
    assert table.scale == "score"
    assert table.normalised == table.choices
    assert table.ranking is None  # too few seeds


def test_only_finished_runs_have_scores() -> None:
    rows = [row("a", 1.0), row("a", 9.0, status="interrupted"), row("a", None, status="failed")]
    (scores,) = tabulate(rows).choices["a"]
    assert scores.tolist() == [1]


def test_new_episodes_count_if_every_run_has_them() -> None:
    rows = [row("a", 1.0, fresh=10.0), row("a", 2.0, fresh=20.0)]
    table = tabulate([*rows, row("a", None, status="failed")])
    assert table.kind == FRESH
    assert table.choices["a"][0].tolist() == [10, 20]
    mixed = tabulate([*rows, row("a", 3.0)])
    assert mixed.kind == FINAL
    assert mixed.choices["a"][0].tolist() == [1, 2, 3]


def test_choices_are_compared_over_all_environments() -> None:
    rows = [row("a", float(s), env) for env in "AB" for s in range(5)]
    rows += [row("b", 100.0 + s, env) for env in "AB" for s in range(5)]
    rows += [row("only A", 999.0, "A")]
    table = tabulate(rows)
    assert list(table.choices) == ["b", "a", "only A"]
    assert list(table.normalised) == ["b", "a"]
    assert table.normalised["b"][1].max() == 1
    assert "lowest (0)" in table.scale
    assert table.ranking is not None
    assert table.ranking.best == "b"
    assert table.ranking.comparisons["a"].is_different
    assert table.most_seeds == 5


@pytest.mark.parametrize("rows", [[row("a", None, status="failed")], [row("a", None)]])
def test_without_scores_there_is_nothing_to_compare(rows: list[RunRow]) -> None:
    table = tabulate(rows)
    assert table.most_seeds == 0
    assert table.normalised == {}
    assert table.ranking is None


def test_an_environment_without_any_score_does_not_hold_up_the_others() -> None:
    begun = [row(choice, None, "B", status="running") for choice in ("a", "b")]
    table = tabulate([*begun, *(row(c, s) for c in ("a", "b") for s in (1.0, 2.0))])
    assert table.envs == ["A", "B"]
    assert table.compared == ["A"]
    assert {label: len(arrays) for label, arrays in table.choices.items()} == {"a": 2, "b": 2}
    assert [values.tolist() for values in table.normalised["a"]] == [[1, 2]]
