from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dqn_cli.storage import load_checkpoint
from dqn_cli.training import building, checkpoints
from dqn_cli.training.compiler import AheadOfTime
from dqn_cli.training.session import Session, TrainingFailure
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


def rows(folder: Path) -> dict[str, dict[int, float]]:
    """What TensorBoard shows, by tag and step."""
    events: Any = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    tags = events.Tags()["scalars"]
    return {tag: {event.step: event.value for event in events.Scalars(tag)} for tag in tags}


@pytest.mark.parametrize(
    ("words", "has_edges"),
    [
        (("agent=c51", "head.v_max=20"), True),
        (("agent=rainbow", "head.atoms=7"), True),
        (("agent=dqn",), False),
        (("agent=qr",), False),
        (("agent=iqn",), False),
        (("agent=drqn", "network.units=4", "network.burn_in=0", "network.length=2"), False),
    ],
)
def test_rows_tell_of_dormant_units_and_of_edges_where_there_are_any(
    settings_of: Compose, tmp_path: Path, words: tuple[str, ...], has_edges: bool
) -> None:
    settings = settings_of(*words, *SMALL, "steps=120", "log.every=40")
    Session(settings, tmp_path, [])()
    seen = rows(tmp_path)
    assert list(seen["train/dormant_units"]) == [40, 80, 120]
    assert all(0 <= share <= 1 for share in seen["train/dormant_units"].values())
    # Nothing is learned before step 50.
    assert list(seen["train/loss"]) == [80, 120]
    assert list(seen.get("train/edge_mass", {})) == ([80, 120] if has_edges else [])
    assert all(0 < share <= 1 for share in seen.get("train/edge_mass", {}).values())


def test_dormant_units_are_those_of_the_network_as_it_is(
    settings_of: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = Session(settings_of(*SMALL, "steps=60", "log.every=30"), tmp_path, [])
    asked = []

    def dormant(obs: Any) -> list[float]:
        asked.append(obs)
        return [0.25 * len(asked)]

    monkeypatch.setattr(session.run.learner, "dormant", dormant)
    session()
    assert rows(tmp_path)["train/dormant_units"] == {30: 0.25, 60: 0.5}
    first, second = asked
    # 30 and 60 steps, and a slot more for each end and for the newest observation.
    assert 31 <= first.shape[1] < second.shape[1]
    assert (second[0, 0] == session.run.stream.newest(1)).all()


@pytest.mark.parametrize("envs", [1, 2, 300])
def test_dormant_units_are_counted_on_at_least_as_many_observations_as_environments(
    settings_of: Compose, tmp_path: Path, envs: int
) -> None:
    words = ("env=LineWorld-v0", f"env.num_envs={envs}", "steps=600", "learning_starts=599")
    settings = settings_of(*SMALL, *words, "log.every=600", "eval.every=1000", "eval.episodes=1")
    session = Session(settings, tmp_path, [])
    session()
    assert 0 <= rows(tmp_path)["train/dormant_units"][600] <= 1


NARROW = ("agent=c51", "head.v_min=-1", "head.v_max=1", "log.every=20")


def test_a_support_that_is_too_narrow_is_told_once(
    settings_of: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Every step of CartPole pays 1, so that all returns are at the upper edge.
    Session(settings_of(*SMALL, *NARROW), tmp_path, [])()
    told = [line for line in capsys.readouterr().out.splitlines() if "at the edges" in line]
    assert len(told) == 1
    assert told[0].startswith("warning: ")
    assert "head.v_min=-1 and head.v_max=1, beyond which" in told[0]
    assert told[0].endswith("widen them")
    assert sum(mass > 0.2 for mass in rows(tmp_path)["train/edge_mass"].values()) > 1


def test_a_support_that_is_wide_enough_is_not_spoken_of(
    settings_of: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Session(settings_of(*SMALL, "agent=c51", "log.every=20"), tmp_path, [])()
    assert "at the edges" not in capsys.readouterr().out
    assert max(rows(tmp_path)["train/edge_mass"].values()) < 0.2


def test_a_support_is_judged_by_the_mean_of_a_row(
    settings_of: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    class Said(list[str]):
        say = list[str].append

    session, said = Session(settings_of(*SMALL, *NARROW), tmp_path, []), Said()
    for mass in (None, 0.0, 0.19, 0.2, 0.21, 0.9):
        row = {} if mass is None else {"train/edge_mass": mass}
        session._warn_of_edges(row, said)  # type: ignore[arg-type]
        assert len(said) == ((mass or 0) > 0.2)
    session.run.envs.close()
    assert "21% of the returns' distribution" in said[0]


@pytest.mark.parametrize(
    "words",
    [
        ("agent=per",),
        ("agent=per", "replay.priority=loss"),
        ("agent=pqn", "env.num_envs=2", "train_every=16", "network.layer_norm=false"),
        ("exploration=boltzmann",),
    ],
)
def test_a_loss_that_explodes_is_a_failure_in_words_with_every_kind_of_replay(
    settings_of: Compose, tmp_path: Path, words: tuple[str, ...]
) -> None:
    explode = ("optimizer=sgd", "optimizer.lr=1e25", "update.loss=squared")
    settings = settings_of(*SMALL, *words, *explode, "update.max_grad_norm=null")
    with pytest.raises(TrainingFailure, match="NaN or infinite"):
        Session(settings, tmp_path, [])()
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == "failed"
    assert "NaN" in result["error"]


@pytest.fixture
def interpreter(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """In place of a compiler: runs functions as they are and keeps those that were asked for."""
    asked: list[Any] = []

    def package(compiler: AheadOfTime, function: Any, inputs: Any) -> Any:
        asked.append(function)
        with compiler.waiting():
            time.sleep(0.05)
        return lambda inputs: function(*inputs)

    monkeypatch.setattr(AheadOfTime, "package", package)
    return asked


def last(folder: Path) -> dict[str, Any]:
    return load_checkpoint(folder / "checkpoints" / "last")


def test_a_compiled_run_says_so_and_books_the_time_it_took(
    settings_of: Compose, tmp_path: Path, interpreter: list[Any]
) -> None:
    result = Session(settings_of(*SMALL, "compile=true"), tmp_path, [])()
    assert len(interpreter) == 2  # what acts and what updates
    assert result["compile"] is True
    assert last(tmp_path)["compiled"] is True
    seconds = result["seconds"]
    assert 0.1 <= seconds["compile"] < seconds["total"]
    assert seconds["total"] >= seconds["train"] + seconds["eval"] + seconds["compile"]


def test_short_runs_are_not_compiled_and_learn_the_same(
    settings_of: Compose, tmp_path: Path, interpreter: list[Any]
) -> None:
    for name, words in (("auto", ()), ("no", ("compile=false",)), ("yes", ("compile=true",))):
        (tmp_path / name).mkdir()
        result = Session(settings_of(*SMALL, *words), tmp_path / name, [])()
        assert result["compile"] is (name == "yes")
        assert (result["seconds"]["compile"] > 0) is (name == "yes")
        assert bool(interpreter) is (name == "yes")
    expected = last(tmp_path / "no")["parameters"]
    assert torch.equal(last(tmp_path / "auto")["parameters"], expected)
    assert torch.equal(last(tmp_path / "yes")["parameters"], expected)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_run_goes_on_as_it_computed_though_it_is_longer_now(
    settings_of: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    interpreter: list[Any],
    compiled: bool,
) -> None:
    monkeypatch.setattr(building, "WORTH_COMPILING", 1 if compiled else 1_000_000)
    assert Session(settings_of(*SMALL), tmp_path, [])()["compile"] is compiled
    monkeypatch.setattr(building, "WORTH_COMPILING", 1_000_000 if compiled else 1)
    data, first = last(tmp_path), len(interpreter)
    result = Session(settings_of(*SMALL, "steps=400"), tmp_path, [], data)()
    assert result["compile"] is last(tmp_path)["compiled"] is compiled
    assert (len(interpreter) > first) is compiled


def test_a_run_that_can_not_be_compiled_says_so_and_runs_all_the_same(
    settings_of: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no C++ compiler\nand much more")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # what is compiled already is not there
    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", fails)
    result = Session(settings_of(*SMALL, "compile=true"), tmp_path, [])()
    assert (result["status"], result["steps"]) == ("finished", 300)
    assert result["compile"] is last(tmp_path)["compiled"] is False
    lines = capsys.readouterr().out.splitlines()
    told = [line for line in lines if "no C++ compiler" in line]
    assert told
    assert all(line.startswith("warning: ") and "slower" in line for line in told)
    assert not any("much more" in line for line in lines)
