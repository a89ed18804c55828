from __future__ import annotations

import json
from pathlib import Path

from optuna.trial import TrialState

from dqn_cli.searching.finalists import rank_finalists
from dqn_cli.searching.study import Record
from dqn_cli.searching.trial_scores import Objective


def runs(folder: Path, *means: float) -> list[Path]:
    paths = []
    for number, mean in enumerate(means):
        run = folder / str(number)
        run.mkdir(parents=True)
        result = {"status": "finished", "overrides": [], "seconds": {"total": 1}, "best": None}
        (run / "result.json").write_text(json.dumps(result | {"final": {"mean": mean}}))
        paths.append(run)
    return paths


def trial(number: int, score: float) -> Record:
    return Record(number, {}, {}, TrialState.COMPLETE, score)


def test_the_best_on_fresh_seeds_is_the_first_and_failed_ones_are_left_out(tmp_path: Path) -> None:
    lucky = trial(0, 90.0), runs(tmp_path / "a", 40, 60)
    steady = trial(1, 80.0), runs(tmp_path / "b", 70, 80, 90)
    gone = trial(2, 85.0), list[Path]()  # all its runs failed
    first, second = rank_finalists([lucky, steady, gone], Objective.final)
    assert (first.trial.number, first.fresh.mean, first.fresh.min, first.runs) == (1, 80, 70, 3)
    assert (second.trial.number, second.fresh.mean, second.runs) == (0, 50, 2)


def test_a_finalist_with_failed_runs_does_not_win(tmp_path: Path) -> None:
    whole = trial(0, 90.0), runs(tmp_path / "a", 40, 60)
    partial = trial(1, 80.0), runs(tmp_path / "b", 500)
    assert [
        finalist.trial.number for finalist in rank_finalists([partial, whole], Objective.final)
    ] == [
        0,
        1,
    ]
