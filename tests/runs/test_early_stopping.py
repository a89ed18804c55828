from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_recorder import SMALL
from test_session import before_step, interrupt

from dqn_cli.agent.clock import Clock
from dqn_cli.evaluation.play import Episodes
from dqn_cli.runs import recorder
from dqn_cli.runs.early_stopping import (
    EvaluationHistory,
    is_over,
    is_paused,
    stop_reason,
    stored_evaluations,
)
from dqn_cli.runs.job import Job
from dqn_cli.runs.outcomes import Interrupted
from dqn_cli.runs.session import Session
from dqn_cli.runs.single_run import train_alone
from dqn_cli.storage import load_checkpoint
from dqn_cli.training.settings import Settings, StopConfig

Compose = Callable[..., Settings]


def history(*means: float) -> EvaluationHistory:
    evaluations = EvaluationHistory()
    for mean in means:
        evaluations.record(mean)
    return evaluations


@pytest.mark.parametrize(
    ("means", "best", "since_best"),
    [
        ((), -math.inf, 0),
        ((-3.0,), -3, 0),
        ((1.0, 2.0, 2.0), 2, 1),
        ((5.0, 1.0, 4.0, 5.0), 5, 3),
        ((5.0, 1.0, 6.0), 6, 0),
        ((math.nan, math.nan), -math.inf, 2),
        ((1.0, math.nan, 2.0), 2, 0),
    ],
)
def test_only_a_higher_mean_is_a_new_best(
    means: Sequence[float], best: float, since_best: int
) -> None:
    evaluations = history(*means)
    assert (evaluations.best, evaluations.since_best) == (best, since_best)


def test_a_run_stops_at_a_mean() -> None:
    config = StopConfig(at=475)
    assert stop_reason(config, history(474.9)) is None
    assert stop_reason(config, history()) is stop_reason(config, history(math.nan)) is None
    assert stop_reason(config, history(475)) == "stop.at=475 reached: 475"
    assert stop_reason(config, history(481.23456)) == "stop.at=475 reached: 481.235"
    assert stop_reason(StopConfig(at=-0.5), history(-0.25)) == "stop.at=-0.5 reached: -0.25"


def test_a_run_stops_after_evaluations_without_a_new_best() -> None:
    config = StopConfig(patience=2)
    assert stop_reason(config, history(3, 1)) is None
    assert stop_reason(config, history(3, 1, 3)) == (
        "stop.patience=2 reached: 2 evaluations in a row without a mean above 3"
    )


def test_a_run_goes_on_by_default(settings_of: Compose) -> None:
    settings = settings_of(*SMALL)
    assert stop_reason(settings.stop, history(1e9, *[0] * 1000)) is None
    assert not is_over(settings, Clock(299), history(1e9))
    assert is_over(settings, Clock(300), history())
    assert is_over(settings_of(*SMALL, "stop.at=7"), Clock(10), history(7))


def test_evaluations_are_read_from_a_checkpoint() -> None:
    evaluations = history(3, 1)
    assert stored_evaluations({"tracker": {"evaluations": asdict(evaluations)}}) == evaluations
    assert stored_evaluations({"settings": {}}) == history()


@pytest.fixture
def means(monkeypatch: pytest.MonkeyPatch) -> dict[int, list[float]]:
    """Means of the next evaluations, by seed; an evaluation at the end of this list has mean 0."""
    upcoming: dict[int, list[float]] = {}
    seeds: dict[Any, int] = {}

    def play(policy: Any, config: Any, seed_function: Any, *args: Any) -> Any:
        seed = seeds[seed_function]
        mean = upcoming[seed].pop(0) if upcoming.get(seed) else 0.0
        return Episodes(np.full(2, mean), np.ones(2, np.int64))

    def seeds_of(seed: int, *args: Any) -> Any:
        def seed_function(number: int) -> int:
            return 0

        seeds[seed_function] = seed
        return seed_function

    monkeypatch.setattr(recorder, "play_episodes", play)
    monkeypatch.setattr(recorder, "episode_seeds", seeds_of)
    return upcoming


def job(settings_of: Compose, folder: Path, *words: str, seed: int = 0) -> Job:
    folder.mkdir(exist_ok=True)
    return Job(settings_of(*SMALL, f"seed={seed}", *words), folder, [])


def written(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return result


def test_a_run_ends_at_the_evaluation_that_reaches_a_mean(
    settings_of: Compose,
    tmp_path: Path,
    means: dict[int, list[float]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    means[0] = [3, 11, 99]
    train_alone(job(settings_of, tmp_path, "stop.at=10", "eval.every=50"))
    result = written(tmp_path)
    assert (result["status"], result["steps"]) == ("finished", 100)
    assert result["stopped"] == "stop.at=10 reached: 11"
    assert result["final"] == result["best"]
    assert (result["final"]["step"], result["final"]["mean"]) == (100, 11)
    assert load_checkpoint(tmp_path / "checkpoints" / "last")["clock"][0] == 100
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("stopped at step 100: stop.at=10 reached: 11") == 1
    assert means[0] == [99]  # nothing was evaluated twice


def test_a_run_ends_after_evaluations_without_a_new_best(
    settings_of: Compose, tmp_path: Path, means: dict[int, list[float]]
) -> None:
    means[0] = [3, 1, 4, 4, 2]
    result = train_alone(job(settings_of, tmp_path, "stop.patience=2", "eval.every=50"))
    assert (result["steps"], result["best"]["step"]) == (250, 200)  # of equals, the later is best
    assert result["stopped"].startswith("stop.patience=2 reached: 2 evaluations")


def test_a_run_that_is_not_stopped_says_so(
    settings_of: Compose, tmp_path: Path, means: dict[int, list[float]]
) -> None:
    words = ("stop.at=10", "stop.patience=9")
    result = train_alone(job(settings_of, tmp_path, *words, "steps=130"))
    assert (result["steps"], result["stopped"], result["final"]["step"]) == (130, None, 130)
    assert written(tmp_path)["stopped"] is None


def test_the_evaluation_at_the_last_step_may_reach_the_mean(
    settings_of: Compose, tmp_path: Path, means: dict[int, list[float]]
) -> None:
    means[0] = [0, 12]
    result = train_alone(job(settings_of, tmp_path, "stop.at=10", "steps=130"))
    assert (result["steps"], result["stopped"]) == (130, "stop.at=10 reached: 12")


def test_members_stop_at_different_steps(
    settings_of: Compose,
    tmp_path: Path,
    means: dict[int, list[float]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    means |= {0: [0, 20, 0, 0], 1: [0] * 6, 2: [20]}
    words = ("stop.at=10", "eval.every=50", "log.every=50", "checkpoint.every=50")
    jobs = [job(settings_of, tmp_path / str(n), *words, seed=n) for n in range(2)]
    jobs.append(job(settings_of, tmp_path / "2", *words[1:], "stop.at=15", seed=2))
    results = Session(jobs, "jobs 0-2")()
    assert [result["steps"] for result in results] == [100, 300, 50]
    assert [result["stopped"] for result in results] == [
        "stop.at=10 reached: 20",
        None,
        "stop.at=15 reached: 20",
    ]
    for result, job_of_result in zip(results, jobs, strict=True):
        last = load_checkpoint(job_of_result.folder / "checkpoints" / "last")
        assert result["status"] == "finished"
        assert result["final"]["step"] == result["steps"] == last["clock"][0]
    line = f"jobs 0-2: {tmp_path / '2'} stopped at step 50: stop.at=15 reached: 20"
    assert line in capsys.readouterr().out.splitlines()


def test_a_session_ends_once_all_members_have_stopped(
    settings_of: Compose, tmp_path: Path, means: dict[int, list[float]]
) -> None:
    means |= {0: [20], 1: [20]}
    words = ("stop.at=10", "eval.every=50")
    jobs = [job(settings_of, tmp_path / str(n), *words, seed=n) for n in range(2)]
    session = Session(jobs, "jobs")
    session()
    assert session.run.clocks[0].steps == 50


def test_patience_goes_on_from_a_checkpoint(
    settings_of: Compose, tmp_path: Path, means: dict[int, list[float]]
) -> None:
    means[0] = [5, 4, 3, 2, 9, 9]
    interrupted = job(settings_of, tmp_path, "stop.patience=3", "eval.every=50")
    session = Session([interrupted])
    before_step(session, 120, interrupt)
    with pytest.raises(Interrupted):
        session()
    assert written(tmp_path)["stopped"] is None
    result = train_alone(interrupted._replace(resumes=True))
    assert (result["steps"], result["final"]["mean"]) == (200, 2)
    assert "3 evaluations in a row without a mean above 5" in result["stopped"]


def test_a_run_interrupted_after_its_last_evaluation_ends_when_resumed(
    settings_of: Compose, tmp_path: Path, means: dict[int, list[float]]
) -> None:
    means[0] = [20, 0]
    interrupted = job(settings_of, tmp_path, "stop.at=10", "eval.every=50")
    session = Session([interrupted])
    save_best = session.recorders[0].evaluate

    def evaluate_and_interrupt(should_stop: Callable[[], bool]) -> dict[str, float]:
        metrics = save_best(should_stop)
        interrupt()
        return metrics

    session.recorders[0].evaluate = evaluate_and_interrupt  # type: ignore[method-assign]
    with pytest.raises(Interrupted):
        session()
    before = written(tmp_path)
    assert (before["status"], before["stopped"]) == ("interrupted", None)
    result = train_alone(interrupted._replace(resumes=True))
    assert (result["status"], result["steps"]) == ("finished", 50)
    assert (result["stopped"], result["final"]["mean"]) == ("stop.at=10 reached: 20", 20)


def test_a_stopped_run_goes_on_with_a_higher_mean(
    settings_of: Compose, tmp_path: Path, means: dict[int, list[float]]
) -> None:
    means[0] = [20, 30, 45]
    train_alone(job(settings_of, tmp_path, "stop.at=10", "eval.every=50"))
    higher = job(settings_of, tmp_path, "stop.at=40", "eval.every=50")
    result = train_alone(higher._replace(resumes=True))
    assert (result["steps"], result["stopped"]) == (150, "stop.at=40 reached: 45")


PAUSED = ("eval.every=50", "log.every=40", "optimizer.schedule=linear", "exploration.duration=0.5")


def test_a_paused_run_goes_on_to_the_same_bits(settings_of: Compose, tmp_path: Path) -> None:
    whole, paused = tmp_path / "whole", tmp_path / "paused"
    expected = train_alone(job(settings_of, whole, *PAUSED))
    first = train_alone(job(settings_of, paused, *PAUSED, "stop.step=130"))
    assert (first["status"], first["steps"]) == ("finished", 130)
    assert (first["stopped"], first["final"]["step"]) == ("stop.step=130 reached", 100)
    second = job(settings_of, paused, *PAUSED, "stop.step=200")._replace(resumes=True)
    assert train_alone(second)["steps"] == 200
    result = train_alone(job(settings_of, paused, *PAUSED)._replace(resumes=True))
    assert (result["steps"], result["stopped"], result["exact"]) == (300, None, True)
    assert (result["final"], result["best"]) == (expected["final"], expected["best"])
    ends = [load_checkpoint(run / "checkpoints" / "last") for run in (whole, paused)]
    assert torch.equal(*(end["learner"]["parameters"] for end in ends))
    assert ends[0]["tracker"]["evaluations"] == ends[1]["tracker"]["evaluations"]


def test_a_pause_at_an_evaluation_has_it(settings_of: Compose, tmp_path: Path) -> None:
    result = train_alone(job(settings_of, tmp_path, *PAUSED, "stop.step=100"))
    assert (result["steps"], result["final"]["step"]) == (100, 100)


def test_members_pause_at_steps_of_their_own(settings_of: Compose, tmp_path: Path) -> None:
    jobs = [
        job(settings_of, tmp_path / str(seed), *PAUSED, *words, seed=seed)
        for seed, words in enumerate([("stop.step=70",), (), ("stop.step=120",)])
    ]
    assert [result["steps"] for result in Session(jobs, "jobs")()] == [70, 300, 120]


def test_only_a_pause_is_no_end(settings_of: Compose) -> None:
    settings = settings_of(*SMALL, "stop.step=50", "stop.at=7")
    assert not is_over(settings, Clock(49), history())
    assert is_over(settings, Clock(50), history())
    assert is_paused(settings, Clock(50), history())
    assert not is_paused(settings, Clock(49), history())
    assert not is_paused(settings, Clock(50), history(7))
    assert not is_paused(settings, Clock(300), history())
    assert stop_reason(settings.stop, history(), 50) == "stop.step=50 reached"
