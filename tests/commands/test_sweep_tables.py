from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from dqn_cli.commands.sweep_tables import report_sweep


def job(
    sweep: Path,
    number: int,
    overrides: list[str],
    mean: float | None,
    status: str = "finished",
    later: tuple[str, ...] = (),
) -> None:
    """As it was started, and gone on with by what was typed `later`."""
    folder = sweep / f"{number}_job"
    (folder / ".hydra").mkdir(parents=True)
    (folder / ".hydra" / "overrides.yaml").write_text("".join(f"- {o}\n" for o in overrides))
    (folder / ".hydra" / "hydra.yaml").write_text(f"hydra: {{job: {{num: {number}}}}}\n")
    (folder / ".hydra" / "config.yaml").write_text("env: {id: CartPole-v1}\n")
    if mean is not None:
        best = {"mean": mean, "mean_ci95": [mean - 1, mean + 1]}
        result = {"status": status, "seconds": {"total": 2.0}, "best": best}
        result["overrides"] = [*overrides, *later]
        (folder / "result.json").write_text(json.dumps(result))


def test_the_last_override_wins(tmp_path: Path) -> None:
    job(tmp_path, 0, ["steps=5", "seed=0"], 10.0, later=("steps=9",))
    report_sweep(tmp_path)
    (row,) = csv.DictReader((tmp_path / "sweep.csv").open())
    assert (row["steps"], row["seed"]) == ("9", "0")


def test_jobs_are_sorted_by_score_and_a_killed_one_is_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job(tmp_path, 0, ["steps=5", "seed=0"], 10.0)
    job(tmp_path, 1, ["steps=5", "seed=1"], None)
    job(tmp_path, 2, ["steps=5", "seed=2"], 30.0)
    report_sweep(tmp_path)
    rows = list(csv.DictReader((tmp_path / "sweep.csv").open()))
    assert [row["job"] for row in rows] == ["2", "0", "1"]
    assert [row["status"] for row in rows] == ["finished", "finished", "failed"]
    assert (rows[0]["score"], rows[0]["score_ci_low"], rows[0]["score_ci_high"]) == (
        "30.0",
        "29.0",
        "31.0",
    )
    assert rows[0]["steps"] == "5"
    shown = capsys.readouterr().out
    assert f"report it:    dqn-report {tmp_path}" in shown.splitlines()
    assert "seed" in shown
    assert "steps" not in shown.split("score")[0]  # what all jobs share sets none apart


def test_a_long_table_shows_the_best_and_the_file_has_all(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(103):
        job(tmp_path, number, [f"seed={number}"], float(number))
    report_sweep(tmp_path)
    shown = capsys.readouterr().out
    assert "3 more rows are left out here" in shown
    assert "│ 3   │" in shown
    assert "│ 2   │" not in shown
    assert len(list(csv.DictReader((tmp_path / "sweep.csv").open()))) == 103


def test_choices_are_compared_over_their_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores = {"dqn": [1.0, 2.0, 3.0, 30.0], "double": [20.0, 30.0, 40.0, None]}
    for update, means in scores.items():
        for seed, mean in enumerate(means):
            overrides = [f"update={update}", f"seed={seed}", "steps=5"]
            job(tmp_path, len(list(tmp_path.iterdir())), overrides, mean)
    job(tmp_path, 8, ["update=double", "seed=4", "steps=5"], -1.0, "interrupted")
    report_sweep(tmp_path)
    over_seeds = capsys.readouterr().out.split("score: ")[1].splitlines()
    double, dqn = (line.split("│")[1:] for line in over_seeds if line.startswith("│"))
    assert [cell.strip() for cell in double] == [
        "double",
        "3 of 5",
        "30.0",
        "too few seeds",
        "20.0",
        "",
    ]
    assert [cell.strip() for cell in dqn[:3]] == ["dqn", "4", "2.50"]
    (told,) = [line for line in over_seeds if "too few seeds to tell" in line]
    assert told == "too few seeds to tell which is better: it takes 5 of each"


def test_the_best_choice_is_compared_with_each_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for env in ("CartPole-v1", "Acrobot-v1"):
        for place, update in enumerate(("dqn", "double", "munchausen")):
            for seed in range(5):
                overrides = [f"update={update}", f"seed={seed}", f"env={env}"]
                score = 10.0 * (place > 0) + seed
                job(tmp_path, len(list(tmp_path.iterdir())), overrides, score)
    report_sweep(tmp_path)
    lines = [line for line in capsys.readouterr().out.splitlines() if " shown to be " in line]
    assert [line.split(":")[0] for line in lines] == ["CartPole-v1", "Acrobot-v1"]
    assert all("update=double is not shown to be better than update=munchausen" in x for x in lines)
    report_sweep(tmp_path)
    lines = [line for line in capsys.readouterr().out.splitlines() if " is better than " in line]
    expected = "update=double is better than update=dqn by 10.0 in the mean (95 %: 7.69 to 12.3;"
    assert len(lines) == 2
    assert all(expected in line for line in lines)


def test_one_seed_of_each_choice_is_not_compared_over_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job(tmp_path, 0, ["update=dqn", "seed=0"], 10.0)
    job(tmp_path, 1, ["update=double", "seed=1"], 20.0)
    report_sweep(tmp_path)
    assert "iqm" not in capsys.readouterr().out


def test_a_sweep_without_jobs_says_nothing(tmp_path: Path) -> None:
    report_sweep(tmp_path)
    assert not (tmp_path / "sweep.csv").exists()
