from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dqn_cli.runs.job import Job
from dqn_cli.runs.locks import LOCK_FILE, InUse, lock_runs
from dqn_cli.runs.manifest import HYDRA_FOLDER, load_begun
from dqn_cli.runs.single_run import train_alone
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
SMALL = (
    "steps=40",
    "learning_starts=4",
    "replay.batch_size=4",
    "network.widths=[8]",
    "eval.every=null",
    "compile=false",
)


def test_the_result_is_that_of_the_file(settings_of: Compose, tmp_path: Path) -> None:
    result = train_alone(Job(settings_of(*SMALL), tmp_path, ["seed=0"]))
    written = json.loads((tmp_path / "result.json").read_text())
    assert json.loads(json.dumps(result)) == written
    assert (result["status"], result["steps"]) == ("finished", 40)


def test_the_run_can_be_resumed_from_its_first_step_on(
    settings_of: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(session: object) -> None:
        raise SystemError("killed")

    (tmp_path / HYDRA_FOLDER).mkdir()
    monkeypatch.setattr("dqn_cli.runs.session.Session.__call__", die)
    with pytest.raises(SystemError):
        train_alone(Job(settings_of(*SMALL), tmp_path, []))
    assert load_begun(tmp_path)["settings"]["steps"] == 40


def test_a_run_that_another_process_trains_is_refused(settings_of: Compose, tmp_path: Path) -> None:
    (tmp_path / LOCK_FILE).parent.mkdir()
    (tmp_path / LOCK_FILE).touch()
    with lock_runs([tmp_path]), pytest.raises(InUse):
        train_alone(Job(settings_of(*SMALL), tmp_path, []))
    assert not (tmp_path / "result.json").exists()
