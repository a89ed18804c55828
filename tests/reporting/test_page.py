from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from dqn_cli.evaluation.curves import Curve
from dqn_cli.reporting.bands import iqm_band
from dqn_cli.reporting.charts import Chart
from dqn_cli.reporting.page import Sections, write_page
from dqn_cli.reporting.run_rows import RunRow
from dqn_cli.reporting.score_table import tabulate


def row(env: str, choice: str, seed: int, final: float, *words: str, seconds: float = 30) -> RunRow:
    curve = Curve(
        choice, np.array([100.0, 200]), np.array([60.0, 7200]), np.array([0, final]), True
    )
    return RunRow(
        Path("sweep") / f"{seed}", env, choice, [*words, f"seed={seed}"], "finished",
        steps=12_345, seconds=seconds, members=4, final=final, curve=curve,
    )  # fmt: skip


def page(folder: Path, rows: list[RunRow], sections: Sections | None = None) -> str:
    bands = {}
    for choice, env in {(row.choice, row.env) for row in rows}:
        band = iqm_band([row for row in rows if (row.choice, row.env) == (choice, env)])
        assert band is not None
        bands[choice, env] = band
    write_page(folder / "p.html", rows, tabulate(rows), bands, sections or Sections())
    return (folder / "p.html").read_text()


def cells(text: str, section: str) -> list[list[str]]:
    """The cells of a section's tables, without markup."""
    body = text.split(f'id="{section}">')[1].split("</section>")[0]
    strip = lambda cell: cell.partition(">")[2].partition("</td")[0]  # noqa: E731
    return [list(map(strip, line.split("<td")[1:])) for line in body.split("<tr>") if "<td" in line]


def test_a_threshold_is_the_goal_of_the_environment(tmp_path: Path) -> None:
    rows = [row("CartPole-v1", "dqn", seed, 480.0) for seed in (0, 1)]
    text = page(tmp_path, [*rows, row("CartPole-v1", "slow", 2, 10.0)])
    assert cells(text, "thresholds") == [
        ["CartPole-v1", "475.0", "dqn", "2 of 2", "200", "2.0 h"],
        ["CartPole-v1", "475.0", "slow", "0 of 1", "-", "-"],
    ]


def test_settings_that_differ_are_listed(tmp_path: Path) -> None:
    rows = [
        row("A", "update=dqn", 0, 1.0, "update=dqn", "steps=5"),
        row("A", "update=double", 0, 2.0, "update=double", "steps=5", "gamma=0.9"),
        row("A", "update=double", 1, 2.0, "update=double", "steps=5", "gamma=0.8"),
    ]
    text = page(tmp_path, rows)
    assert "<th>gamma</th><th>update</th>" in text
    assert "<th>steps</th></tr>" not in text.split('id="settings"')[1].split("</section>")[0]
    assert cells(text, "settings") == [
        ["update=double", "0.9, 0.8", "double"],
        ["update=dqn", "default", "dqn"],
    ]


def test_runs_that_differ_in_their_seed_alone_have_no_settings(tmp_path: Path) -> None:
    text = page(tmp_path, [row("A", "", 0, 1.0), row("A", "", 1, 2.0)])
    assert "Runs differ in seed and environment alone." in text
    assert cells(text, "scores") == [["all", "A", "2", "1.50", "too few seeds", "1.00"]]


def test_a_run_has_its_score_time_and_neighbours(tmp_path: Path) -> None:
    text = page(tmp_path, [row("A", "dqn", 3, 1.5, seconds=5400)])
    (cells_of_run,) = cells(text, "runs")
    assert cells_of_run[1:] == ["dqn", "A", "3", "finished", "1.50", "12,345", "1.5 h", "4", ""]


def test_minutes_are_told_apart(tmp_path: Path) -> None:
    times = [cells(page(tmp_path, [row("A", "", 0, 1.0, seconds=s)]), "runs") for s in (59, 100)]
    assert [run[0][7] for run in times] == ["59 s", "1.7 min"]


def test_a_run_without_a_result_leaves_open_what_is_not_known(tmp_path: Path) -> None:
    running = RunRow(Path("sweep") / "0", "A", "dqn", ["seed=0"], "running")
    running = replace(running, curve=row("A", "dqn", 0, 1.0).curve)
    text = page(tmp_path, [running])
    (cells_of_run,) = cells(text, "runs")
    assert cells_of_run[1:] == ["dqn", "A", "0", "running", "-", "-", "-", "-", ""]
    assert "No run with a learning curve has ended yet." in text
    assert "<th>versions</th>" not in text


def test_notes_stand_below_the_answer(tmp_path: Path) -> None:
    rows = [row("A", "dqn", 0, 1.0)]
    write_page(tmp_path / "p.html", rows, tabulate(rows), {}, Sections(), ["Runs may be missing."])
    text = (tmp_path / "p.html").read_text()
    assert "<p>Runs may be missing.</p>" in text.split('id="answer"')[1].split("</section>")[0]


def test_charts_stand_in_their_sections(tmp_path: Path) -> None:
    chart = Chart("mine", "A <caption>", "<svg id='drawn'></svg>")
    text = page(tmp_path, [row("A", "dqn", 0, 1.0)], Sections(scores=[chart]))
    scores = text.split('id="scores"')[1].split("</section>")[0]
    assert "<svg id='drawn'></svg>" in scores
    assert "A &lt;caption&gt;" in scores
    assert 'href="mine.png"' in scores
