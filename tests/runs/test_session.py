from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from side_by_side import CLOSE, changed, without_twice
from test_checkpoints import check_same
from test_recorder import SMALL, rows

from dqn_cli.agent.clock import Clock
from dqn_cli.compiling import worth_compiling
from dqn_cli.compiling.compiler import AheadOfTime
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.environments import Environments
from dqn_cli.runs import checkpoints
from dqn_cli.runs import session as session_module
from dqn_cli.runs.display import Display
from dqn_cli.runs.job import Job
from dqn_cli.runs.outcomes import Interrupted, TrainingFailure
from dqn_cli.runs.session import Session
from dqn_cli.runs.single_run import train_alone
from dqn_cli.storage import CheckpointError, load_checkpoint
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]


def test_a_failure_is_written_down_and_raised(
    settings_of: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoints, "save_checkpoint", fails)
    with pytest.raises(OSError, match="no space left"):
        train_alone(Job(settings_of(*SMALL), tmp_path, []))
    result = json.loads((tmp_path / "result.json").read_text())
    assert (result["status"], result["error"]) == ("failed", "no space left on device")


def test_the_expected_disk_space_is_about_right(settings_of: Compose, tmp_path: Path) -> None:
    settings = settings_of(*SMALL, "replay.capacity=200")
    session = Session([Job(settings, tmp_path, [])])
    promised = checkpoints.expected_bytes(settings, session.run)
    session()
    written = sum(path.stat().st_size for path in (tmp_path / "checkpoints").iterdir())
    assert written == pytest.approx(promised, rel=0.5, abs=30_000)


def test_dormant_units_are_counted_on_the_newest_observations(
    settings_of: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(*SMALL, "steps=60", "log.every=30")
    session = Session([Job(settings, tmp_path, [])])
    asked = []

    def dormant(obs: Any) -> Any:
        asked.append(obs)
        return np.array([0.25 * len(asked)])

    monkeypatch.setattr(session.run.learner, "dormant", dormant)
    session()
    assert rows(tmp_path)["train/dormant_units"] == {30: 0.25, 60: 0.5}
    first, second = asked
    # 30 and 60 steps, and a slot more for each end and for the newest observation.
    assert 31 <= first.shape[1] < second.shape[1]
    assert (second[0, 0] == session.run.envs.obs).all()


PICTURES = (*SMALL, "env=pictures:Pictures-v0", "steps=20", "learning_starts=19")
IGNORED = "network=mlp ignores which pixels are neighbors: use network=multi"


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        (("env.preprocess.stack=2",), [36, 36]),
        (("+env.kwargs.colors=true",), [36, 36, 3]),
        (("+env.kwargs.colors=true", "env.preprocess.stack=2"), [36, 36, 3]),
        (("env.preprocess.stack=2", "network.dueling=true"), [36, 36]),
    ],
)
def test_an_mlp_on_images_causes_a_warning(
    settings_of: Compose,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    shape: list[int],
) -> None:
    train_alone(Job(settings_of(*PICTURES, "network=mlp", *words), tmp_path, []))
    output = " ".join(capsys.readouterr().out.split())
    assert output.count(f"warning: observations are images {shape}, and {IGNORED}") == 1


@pytest.mark.parametrize(
    "words",
    [
        (*PICTURES, "env.preprocess.stack=2", "network=nature", "network.channels=[2]"),
        (*PICTURES, "+env.kwargs.colors=true", "network=minatar", "network.channels=[2]"),
        (*PICTURES, "+env.kwargs.colors=true", "network=impala", "network.channels=[2]"),
        (*PICTURES, "+env.kwargs.colors=true", "network=dueling", "network.channels=[2]"),
        (*PICTURES, "env.preprocess.stack=2", "network=gru", "network.channels=[2]"),
        (*SMALL, "steps=20", "learning_starts=19", "env.preprocess.stack=2"),
        (*SMALL, "steps=20", "learning_starts=19"),
    ],
    ids=["nature", "minatar", "impala", "dueling", "gru", "stacked vectors", "vectors"],
)
def test_matching_networks_cause_no_warning(
    settings_of: Compose,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
) -> None:
    train_alone(Job(settings_of(*words), tmp_path, []))
    assert "warning" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "preprocess"),
    [
        (
            (),
            {"type": "Preprocess", "stack": 1, "clip_rewards": False, "channels": "auto"},
        ),
        (
            ("env.preprocess.stack=2", "env.preprocess.clip_rewards=true"),
            {"type": "Preprocess", "stack": 2, "clip_rewards": True, "channels": "auto"},
        ),
    ],
)
def test_a_result_holds_the_preprocessing(
    settings_of: Compose, tmp_path: Path, words: tuple[str, ...], preprocess: dict[str, Any]
) -> None:
    words = (*SMALL, "steps=20", "learning_starts=19", *words)
    result = train_alone(Job(settings_of(*words), tmp_path, []))
    assert result["preprocess"] == preprocess
    assert json.loads((tmp_path / "result.json").read_text())["preprocess"] == preprocess


def test_dormant_units_are_counted_on_stacked_frames(
    settings_of: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("env.preprocess.stack=3", "steps=40", "log.every=20", "env.num_envs=2")
    session = Session([Job(settings_of(*PICTURES, *words), tmp_path, [])])
    seen: list[Any] = []

    def dormant(obs: Any) -> Any:
        seen.append(obs)
        return np.array([0.5])

    monkeypatch.setattr(session.run.learner, "dormant", dormant)
    session()
    assert [obs.shape[2:] for obs in seen] == [(3, 36, 36)] * 2
    newest = seen[-1].reshape(2, -1, 3, 36, 36)[:, 0]
    assert (newest == session.run.envs.obs[0]).all()


@pytest.mark.parametrize("envs", [1, 2, 300])
def test_dormant_units_are_counted_on_at_least_as_many_observations_as_environments(
    settings_of: Compose, tmp_path: Path, envs: int
) -> None:
    words = ("env=LineWorld-v0", f"env.num_envs={envs}", "steps=600", "learning_starts=599")
    settings = settings_of(*SMALL, *words, "log.every=600", "eval.every=1000", "eval.episodes=1")
    session = Session([Job(settings, tmp_path, [])])
    session()
    assert 0 <= rows(tmp_path)["train/dormant_units"][600] <= 1


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize(
    "words",
    [
        ("agent=per",),
        ("agent=per", "replay.priority=loss"),
        ("agent=pqn", "env.num_envs=2", "train_every=16", "network.layer_norm=false"),
        ("exploration=boltzmann",),
    ],
)
def test_a_diverging_loss_is_a_clear_failure_with_every_kind_of_replay(
    settings_of: Compose, tmp_path: Path, words: tuple[str, ...]
) -> None:
    explode = ("optimizer=sgd", "optimizer.lr=1e25", "head.loss=squared")
    settings = settings_of(*SMALL, *words, *explode, "optimizer.max_grad_norm=null")
    with pytest.raises(TrainingFailure, match="NaN or infinite"):
        train_alone(Job(settings, tmp_path, []))
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["status"] == "failed"
    assert "NaN" in result["error"]


@pytest.fixture
def interpreter(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """In place of a compiler: runs functions as they are and keeps those that were asked for."""
    asked: list[Any] = []

    def package(compiler: AheadOfTime, function: Any, inputs: Any, structure: Any) -> Any:
        asked.append(function)
        with compiler.waiting():
            time.sleep(0.05)
        return lambda inputs: function(*inputs)

    monkeypatch.setattr(AheadOfTime, "package", package)
    return asked


def last(folder: Path) -> dict[str, Any]:
    return load_checkpoint(folder / "checkpoints" / "last")


def test_a_compiled_run_records_that_and_the_time_it_took(
    settings_of: Compose, tmp_path: Path, interpreter: list[Any]
) -> None:
    result = train_alone(Job(settings_of(*SMALL, "compile=true"), tmp_path, []))
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
        result = train_alone(Job(settings_of(*SMALL, *words), tmp_path / name, []))
        assert result["compile"] is (name == "yes")
        assert (result["seconds"]["compile"] > 0) is (name == "yes")
        assert bool(interpreter) is (name == "yes")
    expected = last(tmp_path / "no")["parameters"]
    assert torch.equal(last(tmp_path / "auto")["parameters"], expected)
    assert torch.equal(last(tmp_path / "yes")["parameters"], expected)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_resumed_run_is_compiled_if_it_was_before_whatever_its_new_length(
    settings_of: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    interpreter: list[Any],
    compiled: bool,
) -> None:
    monkeypatch.setattr(worth_compiling, "WORTH_COMPILING", 1 if compiled else 1_000_000)
    assert train_alone(Job(settings_of(*SMALL), tmp_path, []))["compile"] is compiled
    monkeypatch.setattr(worth_compiling, "WORTH_COMPILING", 1_000_000 if compiled else 1)
    first = len(interpreter)
    result = train_alone(Job(settings_of(*SMALL, "steps=400"), tmp_path, [], resumes=True))
    assert result["compile"] is last(tmp_path)["compiled"] is compiled
    assert (len(interpreter) > first) is compiled


def test_a_run_that_cannot_be_compiled_warns_and_runs_uncompiled(
    settings_of: Compose,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("no C++ compiler\nand much more")

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # what is compiled already is not there
    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", fails)
    result = train_alone(Job(settings_of(*SMALL, "compile=true"), tmp_path, []))
    assert (result["status"], result["steps"]) == ("finished", 300)
    assert result["compile"] is last(tmp_path)["compiled"] is False
    lines = capsys.readouterr().out.splitlines()
    warnings = [line for line in lines if "no C++ compiler" in line]
    assert warnings
    assert all(line.startswith("warning: ") and "slower" in line for line in warnings)
    assert not any("much more" in line for line in lines)


CHANGES = (
    ("gamma=0.9", "exploration.end=0.5"),
    ("optimizer.lr=1e-2", "target.every=20"),
    ("exploration.duration=0.9", "exploration.unit=updates"),
)


def jobs_of(
    settings_of: Compose, folder: Path, *common: str, changes: tuple[tuple[str, ...], ...] = CHANGES
) -> list[Job]:
    """Jobs with different seeds, changes and empty folders."""
    settings, jobs = settings_of(*without_twice("dtype=float64", *SMALL, *common)), []
    for number, own in enumerate(changes):
        (folder / f"job{number}").mkdir(parents=True)
        mine = changed(settings, *own, f"seed={number}")
        jobs.append(Job(mine, folder / f"job{number}", list(own)))
    return jobs


def written(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def result_in(folder: Path) -> dict[str, Any]:
    """The contents of result.json without the times."""
    result = written(folder)
    assert result.pop("seconds")["total"] > 0
    return result


def check_as_alone(job: Job, folder: Path) -> None:
    """Check that result, events and weights equal those of the same job trained alone."""
    folder.mkdir()
    train_alone(job._replace(folder=folder))
    mine, alone = result_in(job.folder), result_in(folder)
    assert mine.pop("members") > alone.pop("members") == 1
    assert mine == alone
    seen, expected = rows(job.folder), rows(folder)
    assert seen.keys() == expected.keys()
    for tag in seen.keys() - {"time/fps"}:
        assert seen[tag] == pytest.approx(expected[tag], rel=1e-6), tag
    for name in ("parameters", "target", "moments"):
        one, other = (last(each)["learner"][name] for each in (job.folder, folder))
        torch.testing.assert_close(one, other, rtol=CLOSE, atol=CLOSE)


def test_each_member_of_a_group_gets_the_results_of_training_alone(
    settings_of: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = jobs_of(settings_of, tmp_path / "sweep", "log.every=50")
    results = Session(jobs, "jobs 0-2")()
    lines = capsys.readouterr().out.splitlines()
    assert "300 steps" in lines[0]
    assert "3 members" in lines[0]
    assert lines[0].endswith(f" MB in {tmp_path / 'sweep'}")
    assert all(line.startswith("jobs 0-2: ") for line in lines)
    for number, (job, result) in enumerate(zip(jobs, results, strict=True)):
        assert json.loads(json.dumps(result)) == written(job.folder)
        assert (result["status"], result["members"]) == ("finished", 3)
        assert (result["seed"], result["overrides"]) == (number, list(CHANGES[number]))
        check_as_alone(job, tmp_path / f"alone{number}")


def test_members_that_finish_early_get_their_results_and_the_others_go_on(
    settings_of: Compose, tmp_path: Path
) -> None:
    jobs = jobs_of(settings_of, tmp_path / "sweep", "episodes=9", "log.every=40", "reset.every=70")
    session = Session(jobs, "jobs")
    results = session()
    ends = [result["steps"] for result in results]
    assert len(set(ends)) == 3
    assert max(ends) < 300
    assert [clock.steps for clock in session.run.clocks] == [max(ends)] * 3
    for number, (job, result) in enumerate(zip(jobs, results, strict=True)):
        assert (result["status"], result["episodes"]) == ("finished", 9)
        assert result["final"]["step"] == result["steps"] == last(job.folder)["clock"][0]
        assert result["best"]["mean"] >= result["final"]["mean"] > 0
        check_as_alone(job, tmp_path / f"alone{number}")
    seconds = [result["seconds"]["total"] for result in results]
    assert sorted(range(3), key=ends.__getitem__) == sorted(range(3), key=seconds.__getitem__)


def test_a_member_that_diverges_has_failed_and_the_others_go_on(
    settings_of: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Plain gradient steps on a squared loss explode even in float64.
    explode = ("optimizer=sgd", "head.loss=squared", "optimizer.max_grad_norm=null", "log.every=40")
    changes = (("optimizer.lr=1e-3",), ("optimizer.lr=1e30",), ("optimizer.lr=1e-4",))
    jobs = jobs_of(
        settings_of, tmp_path / "sweep", *explode, "checkpoint.every=40", changes=changes
    )
    first, failed, third = Session(jobs, "jobs")()
    assert (first["status"], failed["status"], third["status"]) == (
        "finished", "failed", "finished",
    )  # fmt: skip
    assert json.loads(json.dumps(failed)) == written(jobs[1].folder)
    assert failed["error"].startswith("the loss became NaN or infinite before step ")
    assert 50 < failed["steps"] < 300
    assert torch.isfinite(last(jobs[1].folder)["parameters"]).all()
    assert last(jobs[1].folder)["clock"][0] == 40  # before anything was learned
    lines = [line for line in capsys.readouterr().out.splitlines() if "NaN" in line]
    assert lines == [f"jobs: {jobs[1].folder} failed: {failed['error']}"]
    for number in (0, 2):
        check_as_alone(jobs[number], tmp_path / f"alone{number}")


def test_a_session_ends_once_all_members_have_diverged(
    settings_of: Compose, tmp_path: Path
) -> None:
    explode = ("optimizer=sgd", "head.loss=squared", "optimizer.max_grad_norm=null", "log.every=40")
    changes = (("optimizer.lr=1e30",), ("optimizer.lr=1e20",))
    session = Session(
        jobs_of(settings_of, tmp_path, *explode, "steps=3000", changes=changes), "jobs"
    )
    assert [result["status"] for result in session()] == ["failed", "failed"]
    assert session.run.clocks[0].steps < 1000


PERIODS = ("log.every=40", "checkpoint.every=90", "eval.every=120", "steps=240")


@pytest.mark.parametrize(
    "common",
    [
        ("agent=rainbow", "head.atoms=7", "dtype=float32", "reset.every=60"),
        ("agent=pqn", "env.num_envs=3", "train_every=48", "updates_per_train=6"),
    ],
)
def test_two_sessions_of_the_same_jobs_give_the_same_bits(
    settings_of: Compose, tmp_path: Path, common: tuple[str, ...]
) -> None:
    changes = (("gamma=0.9",), ("optimizer.lr=1e-2",), ())
    words = (*PERIODS, *common)
    sweeps = [jobs_of(settings_of, tmp_path / name, *words, changes=changes) for name in "ab"]
    for jobs in sweeps:
        Session(jobs, "jobs")()
    for one, other in zip(*sweeps, strict=True):
        check_same_ends(one.folder, other.folder, left_out=("seconds",))


def check_same_ends(one: Path, other: Path, left_out: Sequence[str]) -> None:
    """Results and checkpoints agree to the bit, but for some of what the tracker keeps."""
    assert result_in(one) == result_in(other)
    ends = [last(folder) for folder in (one, other)]
    for data in ends:
        for name in left_out:
            del data["tracker"][name]
    check_same(*ends)
    best = [load_checkpoint(folder / "checkpoints" / "best") for folder in (one, other)]
    check_same(*best)


def before_step(session: Session, count: int, act: Callable[[], None]) -> None:
    """Call `act` right before the step of this number."""
    envs, done = session.run.envs, [0]
    step = envs.step

    def counted(action: Any) -> Any:
        done[0] += 1
        if done[0] == count:
            act()
        return step(action)

    envs.step = counted  # type: ignore[method-assign]


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


@pytest.mark.parametrize("common", [("agent=per", "episodes=9"), ("agent=noisy", "reset.every=60")])
def test_an_interrupted_group_resumes_to_the_same_bits(
    settings_of: Compose, tmp_path: Path, common: tuple[str, ...]
) -> None:
    changes = (("gamma=0.9",), ("optimizer.lr=1e-2",), ())
    whole = jobs_of(settings_of, tmp_path / "whole", *common, changes=changes)
    halves = jobs_of(settings_of, tmp_path / "halves", *common, changes=changes)
    Session(whole, "jobs")()
    session = Session(halves, "jobs")
    before_step(session, 77, interrupt)
    with pytest.raises(Interrupted) as caught:
        session()
    assert caught.value.exit_code == 143
    for job in halves:
        result = result_in(job.folder)
        assert (result["status"], result["steps"]) == ("interrupted", 77)
        assert last(job.folder)["together"] == ["job0", "job1", "job2"]
    Session([job._replace(resumes=True) for job in halves], "jobs")()
    for one, other in zip(whole, halves, strict=True):
        # test_metrics_tracker.py checks the sums.
        check_same_ends(one.folder, other.folder, left_out=("seconds", "sums"))


def test_a_member_interrupted_at_its_last_step_is_evaluated_when_resumed(
    settings_of: Compose, tmp_path: Path
) -> None:
    whole = jobs_of(settings_of, tmp_path / "whole", "episodes=9")
    halves = jobs_of(settings_of, tmp_path / "halves", "episodes=9")
    results = Session(whole, "jobs")()
    session = Session(halves, "jobs")
    before_step(session, min(result["steps"] for result in results), interrupt)
    with pytest.raises(Interrupted):
        session()
    Session([job._replace(resumes=True) for job in halves], "jobs")()
    for one, other in zip(whole, halves, strict=True):
        check_same_ends(one.folder, other.folder, left_out=("seconds", "sums"))


@pytest.mark.parametrize("trained", [0, 77])
def test_a_session_interrupted_while_compiling_is_repeated_to_the_same_bits(
    settings_of: Compose, tmp_path: Path, interpreter: list[Any], trained: int
) -> None:
    whole = jobs_of(settings_of, tmp_path / "whole", "compile=true")
    halves = jobs_of(settings_of, tmp_path / "halves", "compile=true")
    Session(whole, "jobs")()
    if trained:
        session = Session(halves, "jobs")
        before_step(session, trained, interrupt)
        with pytest.raises(Interrupted):
            session()
        halves = [job._replace(resumes=True) for job in halves]

    def cut_short(compiler: AheadOfTime, function: Any, inputs: Any, structure: Any) -> None:
        with compiler.waiting():
            interrupt()
            pytest.fail("it waited for the compiler")

    session, closed = Session(halves, "jobs"), list[AheadOfTime]()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AheadOfTime, "package", cut_short)
        patch.setattr(AheadOfTime, "close", lambda compiler: closed.append(compiler))
        with pytest.raises(Interrupted) as caught:
            session()
    assert len(closed) == 1
    assert caught.value.exit_code == 143
    for job in halves:
        result = result_in(job.folder)
        assert (result["status"], result["error"]) == ("interrupted", None)
        assert (job.folder / "checkpoints" / "last").exists() is bool(trained)
    Session(halves, "jobs")()
    for one, other in zip(whole, halves, strict=True):
        check_same_ends(one.folder, other.folder, left_out=("seconds", "sums"))


def test_a_member_of_a_group_resumes_alone(settings_of: Compose, tmp_path: Path) -> None:
    jobs = jobs_of(settings_of, tmp_path / "sweep")
    session = Session(jobs, "jobs")
    before_step(session, 77, interrupt)
    with pytest.raises(Interrupted):
        session()
    result = train_alone(jobs[1]._replace(resumes=True))
    assert (result["status"], result["steps"], result["members"]) == ("finished", 300, 1)
    (tmp_path / "alone").mkdir()
    train_alone(jobs[1]._replace(folder=tmp_path / "alone"))
    one, other = (last(each)["parameters"] for each in (jobs[1].folder, tmp_path / "alone"))
    torch.testing.assert_close(one, other, rtol=CLOSE, atol=CLOSE)
    assert result_in(jobs[1].folder) == result_in(tmp_path / "alone")


@pytest.mark.parametrize("member", [0, 1])
def test_a_diverged_member_is_not_saved_when_the_others_are_interrupted(
    settings_of: Compose, tmp_path: Path, member: int
) -> None:
    jobs = jobs_of(settings_of, tmp_path, changes=((), ()))
    session = Session(jobs, "jobs")

    def diverge_and_interrupt() -> None:
        session.run.learner.state.parameters[member] = float("nan")
        interrupt()

    before_step(session, 77, diverge_and_interrupt)
    with pytest.raises(Interrupted):
        session()
    failed, other = jobs[member], jobs[1 - member]
    assert result_in(failed.folder)["status"] == "failed"
    assert "NaN or infinite" in result_in(failed.folder)["error"]
    assert result_in(other.folder)["status"] == "interrupted"
    assert last(other.folder)["clock"][0] == 77


@pytest.mark.parametrize("failing", ["check_stored_spaces", "check_evaluations", "RunRecorder"])
def test_environments_are_closed_if_a_session_can_not_begin(
    settings_of: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    closed = list[Environments]()
    monkeypatch.setattr(session_module, failing, fail)
    monkeypatch.setattr(Environments, "close", lambda envs: closed.append(envs))
    with pytest.raises(OSError, match="no space left"):
        Session(jobs_of(settings_of, tmp_path), "jobs")
    assert len(closed) == 1


def test_an_environment_that_fails_ends_all_members(settings_of: Compose, tmp_path: Path) -> None:
    def fail() -> None:
        raise EnvironmentFailure("it broke")

    jobs = jobs_of(settings_of, tmp_path)
    session = Session(jobs, "jobs")
    before_step(session, 77, fail)
    with pytest.raises(TrainingFailure, match="it broke, at step 77"):
        session()
    for job in jobs:
        result = result_in(job.folder)
        assert (result["status"], result["error"]) == ("failed", "it broke, at step 77")
        assert result["steps"] == 76


def test_a_group_is_shown_by_its_first_clock_and_the_mean_of_its_members(
    settings_of: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[tuple[Clock, float, dict[str, float]]] = []

    def show(display: Display, clock: Clock, done: float, metrics: dict[str, float]) -> None:
        shown.append((clock, done, metrics))

    monkeypatch.setattr(Display, "show", show)
    jobs = jobs_of(settings_of, tmp_path, "log.every=150", "eval.every=300")
    session = Session(jobs, "jobs")
    session()
    clocks, shares, metrics = zip(*shown, strict=True)
    assert [clock.steps for clock in clocks] == [150, 300, 300, 300]
    assert clocks[-1] == session.run.clocks[0]
    assert shares == (0.5, 1.0, 1.0, 1.0)
    logged, logged_at_end, evaluated, closed = metrics
    assert closed == {}  # the last step was evaluated before the members were closed
    for tag in logged.keys() - {"time/fps"}:
        means = [mean(rows(job.folder)[tag][step] for job in jobs) for step in (150, 300)]
        assert [logged[tag], logged_at_end[tag]] == pytest.approx(means, rel=1e-6), tag
    assert logged["time/fps"] == pytest.approx(
        sum(rows(job.folder)["time/fps"][150] for job in jobs), rel=1e-6
    )
    returns = [rows(job.folder)["eval/mean_reward"][300] for job in jobs]
    assert evaluated["eval/mean_reward"] == pytest.approx(mean(returns))


def test_several_members_run_as_compiled_code_together(
    settings_of: Compose, tmp_path: Path, interpreter: list[Any]
) -> None:
    jobs = jobs_of(settings_of, tmp_path / "sweep", "compile=true", "steps=100")
    results = Session(jobs, "jobs")()
    assert len(interpreter) == 2  # what acts and what updates
    assert [result["compile"] for result in results] == [True] * 3
    assert [last(job.folder)["compiled"] for job in jobs] == [True] * 3
    check_as_alone(jobs[2], tmp_path / "alone")


class Fading(gymnasium.Env[Any, Any]):
    """Raises in one step of its life, if told to; observations are as many as told."""

    fails_at: int | None = None
    size = 2
    taken = 0

    def __init__(self) -> None:
        self.observation_space = gymnasium.spaces.Box(-1, 1, (self.size,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        self.steps = 0
        return np.zeros(self.size, np.float32), {}

    def step(self, action: Any) -> Any:
        self.steps, Fading.taken = self.steps + 1, Fading.taken + 1
        if Fading.taken == Fading.fails_at:
            raise RuntimeError("the simulator lost its licence")
        return np.full(self.size, 0.1, np.float32), 1.0, self.steps >= 7, False, {}


@pytest.fixture
def fading(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    gymnasium.register("Fading-v0", Fading)
    monkeypatch.setattr(Fading, "taken", 0)
    yield monkeypatch
    del gymnasium.registry["Fading-v0"]


OF_FADING = ("env=Fading-v0", "steps=120", "learning_starts=20", "network.widths=[4]")
NEVER = ("eval.every=1000", "checkpoint.every=1000", "eval.episodes=1", "compile=false")


def test_what_was_learned_until_an_environment_fails_is_saved(
    settings_of: Compose, tmp_path: Path, fading: pytest.MonkeyPatch
) -> None:
    fading.setattr(Fading, "fails_at", 66)
    job = Job(settings_of(*OF_FADING, *NEVER), tmp_path, [])
    with pytest.raises(TrainingFailure, match=r"RuntimeError: the simulator lost .*, at step 66$"):
        train_alone(job)
    saved = load_checkpoint(tmp_path / "checkpoints" / "last")
    assert tuple(saved["clock"][:2]) == (65, 2)  # a batch is there from step 64 on
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "failed"
    fading.setattr(Fading, "fails_at", None)
    result = train_alone(job._replace(resumes=True))
    assert (result["status"], result["steps"]) == ("finished", 120)


def test_a_run_is_not_resumed_in_another_environment(
    settings_of: Compose, tmp_path: Path, fading: pytest.MonkeyPatch
) -> None:
    job = Job(settings_of(*OF_FADING, *NEVER), tmp_path, [])
    train_alone(job)
    fading.setattr(Fading, "size", 3)
    longer = job._replace(settings=settings_of(*OF_FADING, *NEVER, "steps=200"), resumes=True)
    with pytest.raises(
        CheckpointError, match=r"has observations \[2\] .* now has observations \[3\] and 2"
    ):
        train_alone(longer)
