from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dqn_cli.storage import load_checkpoint
from dqn_cli.training import checkpoints
from dqn_cli.training.session import Session
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
SMALL = (
    "steps=300", "learning_starts=50", "train_every=4", "updates_per_train=1",
    "network.widths=[8]", "eval.every=100", "eval.episodes=2", "replay.batch_size=8",
)  # fmt: skip


def test_a_tie_goes_to_the_later_evaluation(settings_of: Compose, tmp_path: Path) -> None:
    # The line world's first policies walk off the same end, so that evaluations tie.
    settings = settings_of("env=LineWorld-v0", *SMALL, "optimizer.lr=1e-12")
    result = Session(settings, tmp_path, [])()
    assert result["best"]["mean"] == result["final"]["mean"]
    assert result["best"]["step"] == 300


def test_older_checkpoints_are_kept_as_asked(settings_of: Compose, tmp_path: Path) -> None:
    Session(settings_of(*SMALL, "checkpoint.every=50", "checkpoint.keep=2"), tmp_path, [])()
    kept = sorted(path.name for path in (tmp_path / "checkpoints").glob("step_*"))
    assert kept == ["step_0000000250", "step_0000000300"]
    assert "stream" not in load_checkpoint(tmp_path / "checkpoints" / kept[0])


def test_without_replay_a_checkpoint_is_small_and_still_resumes(
    settings_of: Compose, tmp_path: Path
) -> None:
    settings = settings_of(*SMALL, "checkpoint.replay=false")
    Session(settings, tmp_path, [])()
    data = load_checkpoint(tmp_path / "checkpoints" / "last")
    assert data["stream"] == {}
    longer = settings_of(*SMALL, "checkpoint.replay=false", "steps=400")
    assert Session(longer, tmp_path, [], data)()["steps"] == 400


def test_a_full_disk_costs_a_checkpoint_but_not_the_run(
    settings_of: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    real, calls = checkpoints.save_checkpoint, []

    def fails_at_first(path: Path, data: dict[str, object]) -> None:
        calls.append(path.name)
        if len(calls) == 1:
            raise OSError("no space left on device")
        real(path, data)

    monkeypatch.setattr(checkpoints, "save_checkpoint", fails_at_first)
    result = Session(settings_of(*SMALL), tmp_path, [])()
    assert result["status"] == "finished"
    assert (tmp_path / "checkpoints" / "last").is_file()
    assert "no space left" in capsys.readouterr().out


def test_a_failure_is_written_down_and_raised(
    settings_of: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoints, "save_checkpoint", fails)
    with pytest.raises(OSError, match="no space left"):
        Session(settings_of(*SMALL), tmp_path, [])()
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["status"], result["error"]) == ("failed", "no space left on device")


def test_what_a_run_says_of_its_disk_is_about_right(settings_of: Compose, tmp_path: Path) -> None:
    settings = settings_of(*SMALL, "replay.capacity=200")
    session = Session(settings, tmp_path, [])
    promised = checkpoints.expected_bytes(settings, session.run)
    session()
    written = sum(path.stat().st_size for path in (tmp_path / "checkpoints").iterdir())
    assert written == pytest.approx(promised, rel=0.5, abs=30_000)
