from __future__ import annotations

import csv
import json
import os
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dqn_cli.commands import resume
from dqn_cli.commands.population_groups import train_groups
from dqn_cli.commands.population_processes import Processes
from dqn_cli.commands.sweep_tables import report_sweep
from dqn_cli.runs.job import Job
from dqn_cli.runs.locks import lock_runs
from dqn_cli.runs.manifest import write_manifests
from dqn_cli.runs.outcomes import Interrupted
from dqn_cli.runs.session import Session
from dqn_cli.storage import load_checkpoint
from dqn_cli.training.settings import Settings

Typed = Callable[..., int]
Compose = Callable[..., Settings]
Lines = pytest.CaptureFixture[str]


@pytest.mark.parametrize("word", ["optimizer.lr=1", "seed=3", "env=Acrobot-v1"])
def test_keys_that_may_not_change_are_refused_by_name(
    type_train: Typed, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    type_train("steps=150", "eval.episodes=1", "network.widths=[4]", "hydra.run.dir=run")
    assert type_train("resume=run", word) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert word.split("=")[0] in line
    assert "can't change" in line


def test_a_word_without_a_value_is_refused(type_train: Typed, capsys: Lines) -> None:
    type_train("steps=150", "eval.episodes=1", "network.widths=[4]", "hydra.run.dir=run")
    assert type_train("resume=run", "steps") == 1
    assert "'steps' is not of the form key=value" in capsys.readouterr().err.splitlines()[-1]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_run_that_is_being_trained_is_left_alone(
    type_train: Typed, in_folder: Path, capsys: Lines
) -> None:
    type_train("steps=150", "eval.episodes=1", "network.widths=[4]", "hydra.run.dir=run")
    before = contents(in_folder)
    with lock_runs([Path("run")]):
        assert type_train("resume=run", "steps=300") == 1
    reason = "error: run is being trained by another process: wait until it ends, or stop it"
    assert capsys.readouterr().err.splitlines()[-1] == reason
    assert contents(in_folder) == before
    assert type_train("resume=run", "steps=300") == 0


def test_a_sweep_with_a_run_in_training_is_left_alone(
    type_train: Typed, in_folder: Path, capsys: Lines
) -> None:
    type_train(
        "-m", "seed=0,1", "hydra/launcher=population", "hydra.launcher.processes=1",
        "hydra.sweep.dir=sweep", "steps=150", "eval.episodes=1", "network.widths=[4]",
    )  # fmt: skip
    before, (second,) = contents(in_folder), Path("sweep").glob("1_*")
    with lock_runs([second]):
        assert type_train("resume=sweep", "steps=300") == 1
    assert f"error: {second} is being trained" in capsys.readouterr().err
    assert contents(in_folder) == before
    assert type_train("resume=sweep", "steps=300") == 0


def test_a_damaged_checkpoint_is_refused(
    type_train: Typed, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    type_train("steps=150", "eval.episodes=1", "network.widths=[4]", "hydra.run.dir=run")
    last = in_folder / "run" / "checkpoints" / "last"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    assert type_train("resume=run", "steps=300") == 1
    assert "damaged" in capsys.readouterr().err.splitlines()[-1]


SMALL = (
    "steps=150", "learning_starts=30", "train_every=2", "updates_per_train=1", "eval.every=50",
    "network.widths=[4]", "replay.batch_size=8", "dtype=float64", "optimizer.schedule=constant",
    "exploration.duration=60", "eval.episodes=1",
)  # fmt: skip


def sweep_of(
    settings_of: Compose, name: str, *words: str, rates: Sequence[float] = (1e-3, 1e-2, 1e-4)
) -> list[Job]:
    """Jobs of a sweep that has not begun, with what Hydra writes into their folders."""
    jobs = []
    for number, rate in enumerate(rates):
        folder = Path(name) / f"{number}_job"
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "overrides.yaml").write_text(f"- optimizer.lr={rate}\n")
        (folder / ".hydra" / "config.yaml").write_text("env: {id: CartPole-v1}\n")
        (folder / ".hydra" / "hydra.yaml").write_text(f"hydra: {{job: {{num: {number}}}}}\n")
        settings = settings_of(*SMALL, *words)
        own = replace(settings, optimizer=replace(settings.optimizer, lr=rate), seed=number)
        jobs.append(Job(own, folder, [f"optimizer.lr={rate}"], number))
    return jobs


def train_until(jobs: Sequence[Job], step: int) -> None:
    """Trains the jobs side by side until a signal comes in this step."""
    session = Session(jobs, "jobs")
    envs = session.run.envs
    real = envs.step

    def stepped(action: Any) -> Any:
        if session.run.clocks[0].steps == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(action)

    envs.step = stepped  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        session()


def last(job: Job) -> dict[str, Any]:
    return load_checkpoint(job.folder / "checkpoints" / "last")


def result(job: Job) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((job.folder / "result.json").read_text())
    return found


def statuses(sweep: str) -> list[str]:
    """What sweep.csv says, in the order of the jobs."""
    with (Path(sweep) / "sweep.csv").open() as file:
        return [row["status"] for row in sorted(csv.DictReader(file), key=lambda row: row["job"])]


def check_same_bits(one: Job, other: Job) -> None:
    mine, yours = last(one), last(other)
    assert mine["clock"] == yours["clock"]
    for name in ("parameters", "target", "moments"):
        assert torch.equal(mine["learner"][name], yours["learner"][name])
    best = [load_checkpoint(job.folder / "checkpoints" / "best") for job in (one, other)]
    assert torch.equal(best[0]["parameters"], best[1]["parameters"])


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """Lets groups train one after another, in no processes of their own; which they were."""
    seen: list[list[int]] = []

    def trained(groups: Sequence[Sequence[Job]], processes: int) -> int:
        seen.extend([job.number for job in group] for group in groups)
        return max(train_groups([group], Processes(1)) for group in groups)

    monkeypatch.setattr(resume, "train_groups", trained)
    return seen


def test_a_resumed_sweep_ends_with_the_bits_of_an_uninterrupted_one(
    type_train: Typed, settings_of: Compose, capsys: Lines
) -> None:
    whole, halves = (sweep_of(settings_of, name) for name in ("whole", "halves"))
    Session(whole, "jobs")()
    train_until(halves, 77)
    assert type_train("resume=halves") == 0
    for one, other in zip(whole, halves, strict=True):
        check_same_bits(one, other)
        assert (result(other)["status"], result(other)["members"]) == ("finished", 3)
        assert result(other)["overrides"] == other.overrides
    said = capsys.readouterr().out
    assert "jobs 0-2: 3 side by side" in said
    assert "resumed at step 77" in said
    assert statuses("halves") == ["finished"] * 3


def test_a_finished_sweep_says_so_and_may_go_on_to_more(
    type_train: Typed, settings_of: Compose, capsys: Lines
) -> None:
    whole = sweep_of(settings_of, "whole")
    jobs = sweep_of(settings_of, "sweep", "steps=100")
    for sweep in (whole, jobs):
        Session(sweep, "jobs")()
    before = [job.folder.joinpath("checkpoints", "last").read_bytes() for job in jobs]
    assert type_train("resume=sweep") == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("every run in sweep is finished")
    assert before == [job.folder.joinpath("checkpoints", "last").read_bytes() for job in jobs]
    assert type_train("resume=sweep", "steps=150") == 0
    for one, other in zip(whole, jobs, strict=True):
        check_same_bits(one, other)
        assert result(other)["overrides"] == [*other.overrides, "steps=150"]
    assert type_train("resume=sweep", "eval.every=40", "steps=160") == 0
    typed = [*jobs[0].overrides, "steps=150", "eval.every=40", "steps=160"]
    assert result(jobs[0])["overrides"] == typed


def test_a_job_that_failed_is_left_alone(
    type_train: Typed, settings_of: Compose, capsys: Lines
) -> None:
    explode = ("optimizer=sgd", "head.loss=squared", "optimizer.max_grad_norm=null")
    words = (*explode, "log.every=10", "checkpoint.every=20")
    jobs = sweep_of(settings_of, "sweep", *words, rates=(1e-3, 1e30, 1e-4))
    train_until(jobs, 100)
    assert [result(job)["status"] for job in jobs] == ["interrupted", "failed", "interrupted"]
    before = {file: file.stat().st_mtime_ns for file in jobs[1].folder.rglob("*")}
    assert type_train("resume=sweep") == 0
    assert {file: file.stat().st_mtime_ns for file in jobs[1].folder.rglob("*")} == before
    assert "jobs 0, 2: 2 side by side" in capsys.readouterr().out
    assert statuses("sweep") == ["finished", "failed", "finished"]
    assert type_train("resume=sweep") == 0
    assert "has failed" in capsys.readouterr().out.splitlines()[-1]


def test_a_sweep_of_failures_alone_says_so(
    type_train: Typed, settings_of: Compose, capsys: Lines
) -> None:
    jobs = sweep_of(settings_of, "sweep", "steps=40", rates=(1e-3, 1e-2))
    for job, done in zip(jobs, Session(jobs, "jobs")(), strict=True):
        (job.folder / "result.json").write_text(json.dumps(done | {"status": "failed"}))
    capsys.readouterr()
    type_train("resume=sweep", "steps=80")
    shown = capsys.readouterr()
    assert "failed" in shown.out + shown.err
    assert [result(job)["steps"] for job in jobs] == [40, 40]


def test_a_member_at_another_step_is_resumed_in_its_own_group(
    type_train: Typed, settings_of: Compose, in_this_process: list[list[int]]
) -> None:
    whole, halves = (sweep_of(settings_of, name) for name in ("whole", "halves"))
    Session(whole, "jobs")()
    train_until(halves, 50)
    older = halves[1].folder / "checkpoints" / "last"
    kept = shutil.copy(older, "kept")
    train_until([job._replace(resumes=True) for job in halves], 90)
    shutil.copy(kept, older)
    assert type_train("resume=halves") == 0
    assert sorted(in_this_process) == [[0, 2], [1]]
    assert [result(job)["members"] for job in halves] == [2, 1, 2]
    for one, other in zip(whole, halves, strict=True):
        ends = [last(job)["parameters"] for job in (one, other)]
        torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-9)


def test_a_killed_run_without_a_result_goes_on_too(type_train: Typed, settings_of: Compose) -> None:
    jobs = sweep_of(settings_of, "sweep", rates=(1e-3, 1e-2))
    train_until(jobs, 77)
    for job in jobs:
        (job.folder / "result.json").unlink()
    assert type_train("resume=sweep") == 0
    assert [result(job)["steps"] for job in jobs] == [150, 150]


def test_jobs_that_never_started_start_when_their_sweep_is_resumed(
    type_train: Typed, settings_of: Compose, in_this_process: list[list[int]], capsys: Lines
) -> None:
    whole, jobs = (sweep_of(settings_of, name, rates=(1e-3,) * 4) for name in ("whole", "sweep"))
    for group in (whole[:2], whole[2:]):
        Session(group, "jobs")()
    write_manifests(jobs[:2])
    write_manifests(jobs[2:])
    train_until(jobs[:2], 77)
    report_sweep(Path("sweep"))
    assert statuses("sweep") == ["interrupted"] * 4
    capsys.readouterr()
    assert type_train("resume=sweep", "threads=1") == 0
    assert in_this_process == [[0, 1], [2, 3]]
    for one, other in zip(whole, jobs, strict=True):
        check_same_bits(one, other)
        assert result(other)["members"] == 2
    said = capsys.readouterr().out
    assert "jobs 0-1: CartPole-v1: resumed at step 77" in said
    assert "jobs 2-3: CartPole-v1: training, 150 steps" in said


def test_a_run_that_was_killed_before_its_first_checkpoint_begins_again(
    type_train: Typed, in_folder: Path, capsys: Lines
) -> None:
    words = ("steps=150", "eval.episodes=1", "network.widths=[4]", "log.every=20")
    for folder in ("whole", "killed"):
        assert type_train(*words, f"hydra.run.dir={folder}") == 0
    shutil.rmtree("killed/checkpoints")  # of which there was none
    Path("killed/result.json").unlink()
    assert type_train("resume=killed") == 0
    ends = [load_checkpoint(Path(run, "checkpoints", "last")) for run in ("whole", "killed")]
    assert torch.equal(*(end["parameters"] for end in ends))
    rows = [EventAccumulator(run).Reload().Scalars("time/fps") for run in ("whole", "killed")]
    # TensorBoard hides what it wrote before it was killed.
    assert len({tuple(row.step for row in each) for each in rows}) == 1
    assert "training, 150 steps" in capsys.readouterr().out


def test_one_member_goes_on_alone_by_its_own_folder(
    type_train: Typed, settings_of: Compose
) -> None:
    whole, halves = (sweep_of(settings_of, name) for name in ("whole", "halves"))
    Session(whole, "jobs")()
    train_until(halves, 77)
    assert type_train(f"resume={halves[1].folder}") == 0
    assert [result(job)["status"] for job in halves] == ["interrupted", "finished", "interrupted"]
    assert result(halves[1])["members"] == 1
    ends = [last(jobs[1])["parameters"] for jobs in (whole, halves)]
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-9)
    # The others go on without it.
    assert type_train("resume=halves") == 0
    assert [result(job)["members"] for job in halves] == [2, 1, 2]
    ends = [last(jobs[2])["parameters"] for jobs in (whole, halves)]
    torch.testing.assert_close(*ends, rtol=1e-9, atol=1e-9)


def test_runs_that_were_trained_one_after_another_stay_apart(
    type_train: Typed, settings_of: Compose, in_this_process: list[list[int]]
) -> None:
    whole, jobs = (sweep_of(settings_of, name, rates=(1e-3, 1e-2)) for name in ("whole", "sweep"))
    for job in whole:
        Session([job])()
    for job in jobs:
        train_until([job], 77)
    assert type_train("resume=sweep") == 0
    assert in_this_process == [[0], [1]]
    for one, other in zip(whole, jobs, strict=True):
        check_same_bits(one, other)


def test_a_resumed_sweep_can_be_interrupted_again(
    type_train: Typed, settings_of: Compose, monkeypatch: pytest.MonkeyPatch, capsys: Lines
) -> None:
    whole, jobs = (sweep_of(settings_of, name) for name in ("whole", "sweep"))
    Session(whole, "jobs")()
    train_until(jobs, 45)

    def interrupted(groups: Sequence[Sequence[Job]], processes: int) -> int:
        train_until(groups[0], 90)
        return 143

    with monkeypatch.context() as patch:
        patch.setattr(resume, "train_groups", interrupted)
        assert type_train("resume=sweep") == 143
    assert "go on with: dqn-train resume=sweep" in capsys.readouterr().out.splitlines()[-1]
    assert statuses("sweep") == ["interrupted"] * 3
    assert type_train("resume=sweep") == 0
    for one, other in zip(whole, jobs, strict=True):
        check_same_bits(one, other)


def test_a_resumed_sweep_in_which_a_job_fails_ends_with_an_error(
    type_train: Typed, settings_of: Compose, capsys: Lines
) -> None:
    explode = ("optimizer=sgd", "head.loss=squared", "optimizer.max_grad_norm=null", "log.every=10")
    jobs = sweep_of(settings_of, "sweep", *explode, rates=(1e-3, 1e30))
    train_until(jobs, 15)
    assert type_train("resume=sweep") == 1
    assert statuses("sweep") == ["finished", "failed"]
    shown = capsys.readouterr()
    assert "NaN" in shown.out + shown.err
    assert shown.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize("word", ["optimizer.lr=1", "seed=3"])
def test_fixed_keys_may_not_change_in_a_sweep(
    type_train: Typed, settings_of: Compose, capsys: Lines, word: str
) -> None:
    train_until(sweep_of(settings_of, "sweep", "steps=60", rates=(1e-3, 1e-2)), 20)
    assert type_train("resume=sweep", word) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("error: ")
    assert "can't change" in line


def test_a_damaged_checkpoint_of_a_sweep_is_named(
    type_train: Typed, settings_of: Compose, capsys: Lines
) -> None:
    jobs = sweep_of(settings_of, "sweep", "steps=60", rates=(1e-3, 1e-2))
    train_until(jobs, 20)
    file = jobs[1].folder / "checkpoints" / "last"
    file.write_bytes(file.read_bytes()[:-9])
    assert type_train("resume=sweep") == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert "damaged" in line
    assert str(jobs[1].folder) in line


def test_a_folder_without_runs_is_refused(
    type_train: Typed, in_folder: Path, capsys: Lines
) -> None:
    (in_folder / "empty" / "0_job" / ".hydra").mkdir(parents=True)
    assert type_train("resume=empty") == 1
    assert "empty holds no checkpoints/last" in capsys.readouterr().err.splitlines()[-1]


STOPPING = (
    "steps=200", "learning_starts=150", "network.widths=[4]", "eval.every=50", "eval.episodes=2",
    "compile=false",
)  # fmt: skip


def test_a_run_that_was_stopped_is_finished(
    type_train: Typed, in_folder: Path, capsys: Lines
) -> None:
    assert type_train(*STOPPING, "stop.at=1", "hydra.run.dir=run") == 0
    before = contents(in_folder)
    capsys.readouterr()
    assert type_train("resume=run", "steps=400") == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("run is finished after 50 steps: stop.at=1 reached: ")
    assert line.endswith("; stop.at=null goes on")
    assert contents(in_folder) == before
    assert type_train("resume=run", "stop.at=null") == 0
    result = json.loads((in_folder / "run" / "result.json").read_text())
    assert (result["steps"], result["stopped"]) == (200, None)


def test_a_stopped_member_of_a_sweep_is_finished(
    type_train: Typed, in_folder: Path, capsys: Lines
) -> None:
    sweep = ("-m", "stop.at=1,1000", "hydra/launcher=population", "hydra.sweep.dir=sweep")
    assert type_train(*sweep, *STOPPING, "hydra.launcher.processes=1") == 0
    assert "0-1: 2 side by side" in capsys.readouterr().out
    assert type_train("resume=sweep", "steps=250") == 0
    results = [json.loads(path.read_text()) for path in in_folder.glob("sweep/*/result.json")]
    assert sorted(result["steps"] for result in results) == [50, 250]
