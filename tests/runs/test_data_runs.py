from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from logged_data import random_log
from mutated import is_same

from dqn_cli.runs.job import Job
from dqn_cli.runs.single_run import train_alone
from dqn_cli.storage import CheckpointError, load_checkpoint, sha256
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
SMALL = (
    "steps=40", "learning_starts=8", "train_every=4", "updates_per_train=1", "network.widths=[8]",
    "replay=prioritised", "replay.capacity=64", "replay.batch_size=8", "eval.every=20",
    "eval.episodes=1", "eval.max_episode_steps=5", "log.every=5", "checkpoint.every=10",
    "data.pretrain=25", "threads=1",
)  # fmt: skip


def trained(folder: Path, settings: Settings, resumes: bool = False) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    train_alone(Job(settings, folder, [], resumes=resumes))
    return load_checkpoint(folder / "checkpoints" / "last")


@pytest.mark.parametrize("keep", ["true", "false"])
def test_a_paused_run_goes_on_to_the_same_bits(
    settings_of: Compose, tmp_path: Path, keep: str
) -> None:
    log = random_log(tmp_path / "log.npz")
    words = (*SMALL, f"data.path={log}", f"data.keep={keep}", "replay.capacity=120")
    whole = trained(tmp_path / "whole", settings_of(*words))
    trained(tmp_path / "parts", settings_of(*words, "stop.step=20"))
    again = trained(tmp_path / "parts", settings_of(*words), resumes=True)
    for key in ("learner", "sampler", "stream", "random", "clock", "data"):
        assert is_same(whole[key], again[key]), key
    assert whole["clock"][1] == 25 + 8


def test_a_run_without_steps_goes_on_and_says_what_it_learned_from(
    settings_of: Compose, tmp_path: Path
) -> None:
    log = random_log(tmp_path / "log.npz")
    words = (*SMALL, "steps=0", "eval.every=10", f"data.path={log}")
    whole = trained(tmp_path / "whole", settings_of(*words))
    trained(tmp_path / "parts", settings_of(*words, "stop.step=12"))
    again = trained(tmp_path / "parts", settings_of(*words), resumes=True)
    assert is_same(whole["learner"], again["learner"])
    result = json.loads((tmp_path / "whole" / "result.json").read_text())
    assert (result["status"], result["steps"], result["updates"]) == ("finished", 0, 25)
    assert result["final"]["step"] == 25
    assert result["best"]["step"] in (10, 20, 25)
    data = result["data"]
    assert (data["path"], data["transitions"]) == (str(log), 60)
    assert data["sha256"] == sha256(log)
    assert data["mean_return"] == pytest.approx(60 / data["episodes"])


def test_other_data_are_refused_when_a_run_goes_on_and_moved_data_are_not(
    settings_of: Compose, tmp_path: Path
) -> None:
    log = random_log(tmp_path / "log.npz")
    folder = tmp_path / "run"
    trained(folder, settings_of(*SMALL, "stop.step=20", f"data.path={log}"))
    other = random_log(tmp_path / "other.npz", seed=1)
    with pytest.raises(CheckpointError, match=r"is not what the run began with"):
        trained(folder, settings_of(*SMALL, f"data.path={other}"), resumes=True)
    moved = log.rename(tmp_path / "moved.npz")
    assert (
        trained(folder, settings_of(*SMALL, f"data.path={moved}"), resumes=True)["clock"][0] == 40
    )


def test_a_run_learns_from_the_replay_of_another(settings_of: Compose, tmp_path: Path) -> None:
    words = [word for word in SMALL if not word.startswith("data")]
    first = trained(tmp_path / "first", settings_of(*words))
    assert first["data"] is None
    last = tmp_path / "first" / "checkpoints" / "last"
    found = trained(tmp_path / "second", settings_of(*SMALL, f"data.path={tmp_path / 'first'}"))
    assert found["data"]["sha256"] == sha256(last)
    assert found["data"]["transitions"] == 40
    assert torch.isfinite(found["parameters"]).all()
