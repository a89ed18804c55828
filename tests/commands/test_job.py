from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from dqn_cli.commands.job import relative_to_cwd, result_text
from dqn_cli.config.current_command import Sweep
from dqn_cli.runs.launched_jobs import STOP_FILE


def test_a_folder_is_relative_to_the_working_folder(in_folder: Path) -> None:
    assert relative_to_cwd(in_folder / "outputs" / "run") == Path("outputs/run")
    assert relative_to_cwd(Path("/elsewhere/run")) == Path("/elsewhere/run")


def test_the_result_text_names_scores_and_next_commands() -> None:
    summary = {"mean": 12.34, "mean_ci95": [11.0, 13.0], "episodes": 20, "step": 500}
    result = {"steps": 500, "seconds": {"total": 3.0}, "best": summary, "final": None}
    result["env"] = "CartPole-v1"
    words = result_text(result, Path("outputs/run"))
    assert "12.3 [11.0, 13.0]" in words
    assert "dqn-eval checkpoint=outputs/run" in words
    assert "over 20 greedy episodes at step 500" in words
    assert "final" not in words


def test_the_result_text_says_that_a_score_is_of_training() -> None:
    summary = {"mean": 12.34, "mean_ci95": [11.0, 13.0], "episodes": 100, "step": 500}
    result = {"steps": 500, "seconds": {"total": 3.0}, "env": "CartPole-v1", "final": None}
    words = result_text(result | {"best": summary | {"by": "training"}}, Path("outputs/run"))
    assert "over 100 training episodes at step 500" in words


def test_commands_are_right_for_a_job_in_its_own_folder(
    type_train: Callable[..., int], in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("steps=10", "learning_starts=5", "eval.episodes=1", "hydra.run.dir=run")
    assert type_train(*words, "hydra.job.chdir=true") == 0
    assert f"dqn-plot {in_folder / 'run'}" in capsys.readouterr().out


def test_a_job_that_waited_when_its_sweep_was_stopped_has_a_result_and_goes_on(
    type_train: Callable[..., int], in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("steps=10", "learning_starts=5", "eval.every=null")
    (in_folder / "sweep").mkdir()
    (in_folder / "sweep" / STOP_FILE).touch()
    in_another_process = SimpleNamespace(folder=None)
    with monkeypatch.context() as patch:
        patch.setattr("dqn_cli.commands.job.Sweep", in_another_process)
        assert type_train("-m", *words, "seed=3", "hydra.sweep.dir=sweep") == 143
    assert Sweep.folder == Path("sweep")
    (file,) = (in_folder / "sweep").glob("0_*/result.json")
    result = json.loads(file.read_text())
    assert (result["status"], result["steps"], result["seed"]) == ("interrupted", 0, 3)
    assert type_train("resume=sweep") == 0
    assert json.loads(file.read_text())["status"] == "finished"
