from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from torch.utils.tensorboard import SummaryWriter

from dqn_cli.searching.trial_scores import Objective, Standing, run_score, standing, trial_score


def write_result(run: Path, **fields: Any) -> Path:
    run.mkdir(exist_ok=True)
    result = {"overrides": [], "seconds": {"total": 1.0}, "best": None, "stopped": None} | fields
    (run / "result.json").write_text(json.dumps(result))
    return run


PAUSED = {"status": "finished", "steps": 100, "stopped": "stop.step=100 reached"}


@pytest.mark.parametrize(
    ("result", "step", "expected"),
    [
        ({"status": "interrupted", "steps": 100}, 100, Standing.open),
        ({"status": "failed", "steps": 100}, 100, Standing.failed),
        (PAUSED, 100, Standing.done),
        (PAUSED, 50, Standing.done),
        (PAUSED, 200, Standing.open),
        (PAUSED, None, Standing.open),
        ({"status": "finished", "steps": 300}, None, Standing.done),
        ({"status": "finished", "steps": 300}, 100, Standing.done),
        ({"status": "finished", "steps": 50, "stopped": "stop.at=9 reached"}, 100, Standing.done),
        ({"status": "finished", "steps": 50, "stopped": "stop.at=9 reached"}, None, Standing.done),
    ],
)
def test_where_a_run_stands(
    tmp_path: Path, result: dict[str, Any], step: int | None, expected: Standing
) -> None:
    assert standing(write_result(tmp_path, **result), step) is expected


def test_a_run_that_has_not_begun_is_open(tmp_path: Path) -> None:
    assert standing(tmp_path / "nowhere", None) is Standing.open


def test_scores_are_of_the_final_or_best_evaluation_or_of_all(tmp_path: Path) -> None:
    summary = {"mean_ci95": [0, 9]}
    run = write_result(
        tmp_path, status="finished", final={"mean": 3.0} | summary, best={"mean": 7.0} | summary
    )
    with SummaryWriter(str(run)) as events:
        for step, value in ((10, 2.0), (20, 7.0), (30, 3.0)):
            events.add_scalar("eval/mean_reward", value, step)
    assert run_score(run, Objective.final) == 3
    assert run_score(run, Objective.best) == 7
    assert run_score(run, Objective.mean) == 4


def test_a_trial_has_the_mean_of_its_runs(tmp_path: Path) -> None:
    runs = [
        write_result(tmp_path / str(n), status="finished", final={"mean": float(n)})
        for n in (1, 2, 6)
    ]
    assert trial_score(runs, Objective.final) == 3
