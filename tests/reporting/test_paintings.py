from __future__ import annotations

from pathlib import Path

import numpy as np

from dqn_cli.evaluation.curves import Curve
from dqn_cli.reporting.bands import IqmBand, iqm_band
from dqn_cli.reporting.paintings import draw_curves, draw_improvement, draw_profiles, draw_scores
from dqn_cli.reporting.run_rows import RunRow
from dqn_cli.reporting.score_table import ScoreTable, tabulate

random = np.random.default_rng(0)
PLACES = {"update=dqn": 0, "update=double": 1}


def row(choice: str, final: float, points: int = 20) -> RunRow:
    steps = 10.0 * np.arange(1, points + 1)
    curve = Curve(choice, steps, steps, final * steps / steps[-1], greedy=True)
    return RunRow(Path("run"), "A", choice, [], "finished", final=final, curve=curve)


def band(choice: str, runs: int = 6, points: int = 20) -> IqmBand:
    found = iqm_band([row(choice, float(random.normal(10)), points) for _ in range(runs)])
    assert found is not None
    return found


def table(seeds: int = 6) -> ScoreTable:
    rows = [row(c, 10.0 * place + s) for c, place in PLACES.items() for s in range(seeds)]
    return tabulate(rows)


def test_curves_show_each_choice_with_the_number_of_its_runs(tmp_path: Path) -> None:
    bands = {choice: band(choice) for choice in PLACES}
    chart = draw_curves("CartPole-v1", bands, PLACES, "greedy return", tmp_path, "curves")
    for text in ("update=dqn (6)", "update=double (6)", "CartPole-v1", "greedy return"):
        assert f">{text}</text>" in chart.svg
    assert chart.svg.count("stroke: var(--c1)") >= 7  # six thin runs and the middle
    assert (tmp_path / "curves.png").is_file()


def test_a_curve_of_one_point_is_a_dot(tmp_path: Path) -> None:
    marks = []
    for points in (1, 2):
        bands = {"update=dqn": band("update=dqn", points=points)}
        chart = draw_curves("A", bands, PLACES, "return", tmp_path, "curves")
        marks.append(chart.svg.count("<use"))
    assert marks[0] >= 7  # six thin runs and the middle, beside the ticks of the axes


def test_many_long_curves_stay_small(tmp_path: Path) -> None:
    bands = {"update=dqn": band("update=dqn", runs=300, points=3000)}
    chart = draw_curves("A", bands, PLACES, "return", tmp_path, "curves")
    assert len(chart.svg) < 600_000


def test_every_seed_is_a_dot(tmp_path: Path) -> None:
    scores = {"update=dqn": np.arange(7.0), "update=double": np.arange(3.0)}
    chart = draw_scores("A", scores, PLACES, tmp_path, "scores")
    assert chart.svg.count("<use") >= 10
    assert "update=double" in chart.svg
    assert "Scores on A" in chart.caption


def test_long_labels_are_broken_into_lines(tmp_path: Path) -> None:
    label = "optimizer.lr=3e-4, replay.n_step=3, update=munchausen"
    chart = draw_scores("A", {label: np.arange(5.0)}, {label: 0}, tmp_path, "scores")
    assert label not in chart.svg
    assert "update=munchausen</" in chart.svg


def test_profiles_and_improvement_name_the_choices(tmp_path: Path) -> None:
    profiles = draw_profiles(table(), PLACES, tmp_path)
    assert all(choice in profiles.svg for choice in PLACES)
    improvement = draw_improvement(table(), tmp_path)
    assert "P(update=double scores more)" in improvement.svg
    assert "update=double scores more than one" in improvement.caption


def test_few_seeds_have_no_interval(tmp_path: Path) -> None:
    few, enough = (draw_improvement(table(seeds), tmp_path).svg for seeds in (4, 5))
    assert few.count("var(--c0)") < enough.count("var(--c0)")
