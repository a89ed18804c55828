from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dqn_cli.agent.clock import Clock
from dqn_cli.agent.metrics import Metrics
from dqn_cli.runs import checkpoints
from dqn_cli.runs.job import Job
from dqn_cli.runs.outcomes import TrainingFailure
from dqn_cli.runs.recorder import RunRecorder
from dqn_cli.runs.session import Session
from dqn_cli.runs.single_run import train_alone
from dqn_cli.storage import load_checkpoint
from dqn_cli.training.loop import Run, train
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
SMALL = (
    "steps=300", "learning_starts=50", "train_every=4", "updates_per_train=1",
    "network.widths=[8]", "eval.every=100", "eval.episodes=2", "replay.batch_size=8",
)  # fmt: skip


def test_a_tie_goes_to_the_later_evaluation(settings_of: Compose, tmp_path: Path) -> None:
    # The line world's first policies walk off the same end, so that evaluations tie.
    settings = settings_of("env=LineWorld-v0", *SMALL, "optimizer.lr=1e-12")
    result = train_alone(Job(settings, tmp_path, []))
    assert result["best"]["mean"] == result["final"]["mean"]
    assert result["best"]["step"] == 300


def test_older_checkpoints_are_kept_as_asked(settings_of: Compose, tmp_path: Path) -> None:
    train_alone(Job(settings_of(*SMALL, "checkpoint.every=50", "checkpoint.keep=2"), tmp_path, []))
    kept = sorted(path.name for path in (tmp_path / "checkpoints").glob("step_*"))
    assert kept == ["step_0000000250", "step_0000000300"]
    assert "stream" not in load_checkpoint(tmp_path / "checkpoints" / kept[0])


def test_without_replay_a_checkpoint_is_small_and_still_resumes(
    settings_of: Compose, tmp_path: Path
) -> None:
    settings = settings_of(*SMALL, "checkpoint.replay=false")
    train_alone(Job(settings, tmp_path, []))
    data = load_checkpoint(tmp_path / "checkpoints" / "last")
    assert data["stream"] == {}
    longer = settings_of(*SMALL, "checkpoint.replay=false", "steps=400")
    assert train_alone(Job(longer, tmp_path, [], resumes=True))["steps"] == 400


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
    result = train_alone(Job(settings_of(*SMALL), tmp_path, []))
    assert result["status"] == "finished"
    assert (tmp_path / "checkpoints" / "last").is_file()
    assert "no space left" in capsys.readouterr().out


def rows(folder: Path) -> dict[str, dict[int, float]]:
    """TensorBoard values by tag and step."""
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
def test_dormant_units_are_logged_and_edge_mass_only_where_a_support_has_edges(
    settings_of: Compose, tmp_path: Path, words: tuple[str, ...], has_edges: bool
) -> None:
    settings = settings_of(*words, *SMALL, "steps=120", "log.every=40")
    train_alone(Job(settings, tmp_path, []))
    seen = rows(tmp_path)
    assert list(seen["train/dormant_units"]) == [40, 80, 120]
    assert all(0 <= share <= 1 for share in seen["train/dormant_units"].values())
    # Nothing is learned before step 50.
    assert list(seen["train/loss"]) == [80, 120]
    assert list(seen.get("train/edge_mass", {})) == ([80, 120] if has_edges else [])
    assert all(0 < share <= 1 for share in seen.get("train/edge_mass", {}).values())


NARROW = ("agent=c51", "head.v_min=-1", "head.v_max=1", "log.every=20")


def test_a_narrow_support_causes_one_warning(
    settings_of: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Every step of CartPole pays 1, so that all returns are at the upper edge.
    train_alone(Job(settings_of(*SMALL, *NARROW), tmp_path, []))
    lines = [line for line in capsys.readouterr().out.splitlines() if "at the edges" in line]
    assert len(lines) == 1
    assert lines[0].startswith("warning: ")
    assert "head.v_min=-1 and head.v_max=1, beyond which" in lines[0]
    assert lines[0].endswith("widen them")
    assert sum(mass > 0.2 for mass in rows(tmp_path)["train/edge_mass"].values()) > 1


def test_a_wide_enough_support_causes_no_warning(
    settings_of: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train_alone(Job(settings_of(*SMALL, "agent=c51", "log.every=20"), tmp_path, []))
    assert "at the edges" not in capsys.readouterr().out
    assert max(rows(tmp_path)["train/edge_mass"].values()) < 0.2


def test_the_warning_of_a_narrow_support_depends_on_the_mean_edge_mass(
    settings_of: Compose, tmp_path: Path
) -> None:
    settings = settings_of(*SMALL, *NARROW)
    session = Session([Job(settings, tmp_path, [])])
    (recorder,), printed = session.recorders, list[str]()
    recorder.print_line = printed.append
    report = next(train([settings], session.run))
    session.run.envs.close()
    edge_mass = Metrics._fields.index("edge_mass")
    for mass in (None, 0.0, 0.19, 0.2, 0.21, 0.9):
        if mass is not None:
            recorder.tracker.record(report._replace(updates=4))
            recorder.tracker.sums[edge_mass] = 4 * mass
        assert recorder.log(report, 0.0).get("train/edge_mass") == (mass or None)
        assert len(printed) == ((mass or 0) > 0.2)
    assert "21% of the returns' distribution" in printed[0]


def recorder_of(settings: Settings, folder: Path) -> tuple[RunRecorder, Run, list[str]]:
    """The recorder of a run before its first step, the run, and the lines that it prints."""
    session, printed = Session([Job(settings, folder, [])]), list[str]()
    session.run.envs.close()
    (recorder,) = session.recorders
    recorder.print_line = printed.append
    return recorder, session.run, printed


def never() -> bool:
    return False


def test_a_step_is_evaluated_once(settings_of: Compose, tmp_path: Path) -> None:
    recorder, run, _ = recorder_of(settings_of(*SMALL), tmp_path)
    row = recorder.evaluate(never)
    assert set(row) == {
        "eval/mean_reward", "eval/mean_ep_length", "eval/mean_ci95_low", "eval/mean_ci95_high",
    }  # fmt: skip
    assert row["eval/mean_reward"] == row["eval/mean_ep_length"] > 0
    assert recorder.tracker.best == recorder.tracker.final
    assert load_checkpoint(tmp_path / "checkpoints" / "best")["clock"] == (0, 0, 0)
    assert recorder.evaluate(never) == {}
    run.clocks = [Clock(steps=1)]
    assert recorder.evaluate(never) == row
    assert recorder.tracker.final is not None
    assert recorder.tracker.final["step"] == 1


def test_an_evaluation_that_is_stopped_leaves_nothing(settings_of: Compose, tmp_path: Path) -> None:
    recorder, _, _ = recorder_of(settings_of(*SMALL), tmp_path)
    assert recorder.evaluate(lambda: True) == {}
    assert recorder.tracker.best is recorder.tracker.final is None
    assert not (tmp_path / "checkpoints" / "best").exists()
    assert recorder.evaluate(never)  # it is still to be done


@pytest.mark.parametrize(
    ("clock", "finished"),
    [(Clock(), False), (Clock(299, 90, 8), False), (Clock(300), True), (Clock(20, 0, 9), True)],
)
def test_a_member_is_finished_by_its_own_clock(
    settings_of: Compose, tmp_path: Path, clock: Clock, finished: bool
) -> None:
    recorder, run, _ = recorder_of(settings_of(*SMALL, "episodes=9"), tmp_path)
    run.clocks = [clock]
    assert recorder.is_finished is finished


def test_a_full_disk_is_an_error_only_for_a_required_checkpoint(
    settings_of: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("no space left on device")

    recorder, _, printed = recorder_of(settings_of(*SMALL), tmp_path)
    monkeypatch.setattr(checkpoints, "save_checkpoint", fails)
    recorder.save(compiled=False)
    assert printed == [
        "warning: no checkpoint this time, the earlier one stays: no space left on device"
    ]
    with pytest.raises(OSError, match="no space left"):
        recorder.save(compiled=False, required=True)


def test_a_checkpoint_names_the_members_of_its_group(settings_of: Compose, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    session = Session([Job(settings_of(*SMALL), folder, []) for folder in folders], "jobs")
    session.run.envs.close()
    for recorder, folder in zip(session.recorders, folders, strict=True):
        recorder.save(compiled=True)
        data = load_checkpoint(folder / "checkpoints" / "last")
        assert (data["together"], data["compiled"]) == (["one", "other"], True)


def test_closing_writes_the_result(settings_of: Compose, tmp_path: Path) -> None:
    recorder, _, _ = recorder_of(settings_of(*SMALL, "seed=7"), tmp_path)
    assert recorder.result is None
    recorder.close("failed", "it broke", compiled=False)
    assert recorder.result == json.loads((tmp_path / "result.json").read_text())
    names = ("status", "error", "seed", "steps", "best", "final", "members", "compile")
    assert [recorder.result[name] for name in names] == [
        "failed", "it broke", 7, 0, None, None, 1, False,
    ]  # fmt: skip


class Winning(gymnasium.Env[Any, Any]):
    """Four steps an episode; `info` has the steps, and at the end whether the number is even."""

    observation_space, action_space = spaces.Box(0, 1, (2,), np.float32), spaces.Discrete(2)

    def __init__(self, fails_in_evaluation: bool = False) -> None:
        self.fails = fails_in_evaluation

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps, self.wins = 0, bool(self.np_random.integers(2))
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        if self.fails:
            raise RuntimeError("the market is closed")
        self.steps += 1
        ended = self.steps == 4
        info: dict[str, Any] = {"stats": {"steps": self.steps}}
        if ended:
            info["wins"] = self.wins
        return np.zeros(2, np.float32), float(self.wins), ended, False, info


@pytest.fixture
def winning() -> Iterator[tuple[str, ...]]:
    gymnasium.register("Winning-v0", Winning)
    yield (*SMALL, "env=Winning-v0", "log.every=50", "log.info=[wins,stats.steps]")
    del gymnasium.registry["Winning-v0"]


INFO_TAGS = ("info/wins", "info/wins_at_end", "info/stats.steps", "info/stats.steps_at_end")


@pytest.mark.parametrize("vectorization", ["sync", "async"])
def test_scalars_in_info_are_logged(
    settings_of: Compose, tmp_path: Path, winning: tuple[str, ...], vectorization: str
) -> None:
    word = f"env.vectorization={vectorization}"
    words = (*winning, "log.info=[wins,stats.steps,no]", word, "steps=200")
    result = train_alone(Job(settings_of(*words), tmp_path, []))
    logged = rows(tmp_path)
    for tag in INFO_TAGS:
        assert list(logged[tag]) == [50, 100, 150, 200]
        assert list(logged[f"eval/{tag}"]) == [100, 200]
    assert logged["info/stats.steps"][50] == pytest.approx((12 * 10 + 3) / 50)
    assert set(logged["info/stats.steps_at_end"].values()) == {4}
    returns = logged["rollout/ep_rew_mean"]
    assert logged["info/wins_at_end"] == {
        step: pytest.approx(mean / 4) for step, mean in returns.items()
    }
    assert not any("info/no" in tag for tag in logged)
    for name in ("best", "final"):
        wins = result[name]["mean"] / 4
        assert result[name]["info"] == {
            "wins": {"mean": wins, "at_end": wins},
            "stats.steps": {"mean": 2.5, "at_end": 4},
            "no": {"mean": None, "at_end": None},
        }


def test_without_names_nothing_in_info_is_logged(
    settings_of: Compose, tmp_path: Path, winning: tuple[str, ...]
) -> None:
    result = train_alone(Job(settings_of(*winning, "log.info=[]"), tmp_path, []))
    assert not [tag for tag in rows(tmp_path) if "info/" in tag]
    assert result["best"]["info"] == {}


def test_scalars_in_info_go_on_from_a_checkpoint(
    settings_of: Compose, tmp_path: Path, winning: tuple[str, ...]
) -> None:
    folders = [tmp_path / name for name in ("whole", "halves")]
    for folder in folders:
        folder.mkdir()
    whole, halves = (Job(settings_of(*winning, "steps=160"), folder, []) for folder in folders)
    train_alone(whole)
    train_alone(halves._replace(settings=settings_of(*winning, "steps=70")))
    train_alone(halves._replace(resumes=True))
    seen, expected = rows(folders[1]), rows(folders[0])
    for tag in INFO_TAGS:
        assert seen[tag] == expected[tag]


def test_each_member_logs_its_own_scalars(
    settings_of: Compose, tmp_path: Path, winning: tuple[str, ...]
) -> None:
    jobs = []
    for seed in range(2):
        (tmp_path / str(seed)).mkdir()
        jobs.append(Job(settings_of(*winning, f"seed={seed}"), tmp_path / str(seed), []))
    Session(jobs, "jobs")()
    together = [rows(job.folder)["info/wins_at_end"] for job in jobs]
    assert together[0] != together[1]
    for job in jobs:
        alone = job._replace(folder=tmp_path / f"alone{job.settings.seed}")
        alone.folder.mkdir()
        train_alone(alone)
        assert rows(alone.folder)["info/wins_at_end"] == together[job.settings.seed]


def test_names_that_are_never_in_info_cause_one_warning(
    settings_of: Compose,
    tmp_path: Path,
    winning: tuple[str, ...],
    capsys: pytest.CaptureFixture[str],
) -> None:
    train_alone(Job(settings_of(*winning, "log.info=[wins,won,stats.no]"), tmp_path, []))
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "warning" in line] == [
        "warning: log.info=[won,stats.no]: no step so far had such a number in its info"
    ]


def test_no_name_is_missed_before_an_episode_ended(
    settings_of: Compose, tmp_path: Path, winning: tuple[str, ...]
) -> None:
    recorder, run, printed = recorder_of(settings_of(*winning), tmp_path)
    report = next(train([recorder.job.settings], run))
    recorder.log(report, 0.0)
    assert not printed
    run.clocks = [Clock(4, 0, 1)]
    for _ in range(2):
        recorder.log(report, 0.0)
    assert [line.partition(":")[0] for line in printed] == ["warning"]


def test_what_was_learned_before_an_evaluation_fails_is_saved(
    settings_of: Compose, tmp_path: Path, winning: tuple[str, ...]
) -> None:
    words = (*winning, "+eval.env.kwargs.fails_in_evaluation=true", "checkpoint.every=1000")
    where = r"the market is closed .*, in the evaluation at step 100; eval.every=null trains"
    with pytest.raises(TrainingFailure, match=where):
        train_alone(Job(settings_of(*words), tmp_path, []))
    assert load_checkpoint(tmp_path / "checkpoints" / "last")["clock"][0] == 100
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "failed"
