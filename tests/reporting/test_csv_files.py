from __future__ import annotations

import csv
from pathlib import Path

import pytest

from dqn_cli.evaluation.statistics import summarize
from dqn_cli.reporting import csv_files
from dqn_cli.reporting.run_rows import RunRow
from dqn_cli.reporting.score_table import tabulate

SCORES = (1.0, 2.0, 3.0, 4.0, 9.0)


def row(choice: str, seed: int, score: float | None, status: str = "finished") -> RunRow:
    words = [f"update={choice}", f"seed={seed}"]
    return RunRow(Path("a,b") / str(seed), "A", choice, words, status, final=score)


ROWS = [row(choice, seed, shift + score) for choice, shift in (("dqn", 0.0), ("double", 50.0))
        for seed, score in enumerate(SCORES)]  # fmt: skip


def read(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.open()))


def test_every_run_is_a_row_with_its_overrides(tmp_path: Path) -> None:
    table = tabulate(ROWS)
    csv_files.write_runs(tmp_path / "r.csv", [*ROWS, row("dqn", 7, None, "failed")], table.kind)
    rows = read(tmp_path / "r.csv")
    assert len(rows) == 11
    first = {key: rows[1][key] for key in ("choice", "seed", "score", "folder", "update", "steps")}
    assert first == {"choice": "dqn", "seed": "1", "score": "2.0", "folder": "a,b/1",
                     "update": "dqn", "steps": ""}  # fmt: skip
    assert (rows[-1]["status"], rows[-1]["score"]) == ("failed", "")


def test_choices_have_their_statistics(tmp_path: Path) -> None:
    csv_files.write_choices(tmp_path / "c.csv", tabulate(ROWS))
    double, dqn = read(tmp_path / "c.csv")
    summary = summarize(SCORES)
    assert (double["choice"], dqn["choice"], dqn["seeds"]) == ("double", "dqn", "5")
    assert float(dqn["iqm"]) == summary.iqm
    assert float(dqn["mean_ci_high"]) == pytest.approx(summary.mean_ci95[1])
    assert (dqn["worst"], dqn["best"]) == ("1.0", "9.0")


def test_comparisons_are_those_with_the_best(tmp_path: Path) -> None:
    table = tabulate(ROWS)
    csv_files.write_comparisons(tmp_path / "c.csv", table)
    (only,) = read(tmp_path / "c.csv")
    assert (only["best"], only["other"], only["difference"]) == ("double", "dqn", "50.0")
    assert table.ranking is not None
    assert float(only["p_holm"]) == table.ranking.comparisons["dqn"].p
    csv_files.write_comparisons(tmp_path / "none.csv", tabulate(ROWS[:3]))
    assert read(tmp_path / "none.csv") == []
