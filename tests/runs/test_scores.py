from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from test_recorder import SMALL, rows

from dqn_cli.runs.job import Job
from dqn_cli.runs.scores import EVALUATION, RECENT, TRAINING, is_best, score_summary
from dqn_cli.runs.session import Session
from dqn_cli.runs.single_run import train_alone
from dqn_cli.storage import load_checkpoint
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]


def test_a_summary_has_the_statistics_of_its_returns() -> None:
    info = {"x": {"mean": 1.0, "at_end": None}}
    summary = score_summary("CartPole-v1", 70, [1.0, 3.0], info, TRAINING)
    names = ("step", "episodes", "mean", "min", "max", "by", "info")
    assert [summary[name] for name in names] == [70, 2, 2, 1, 3, "training", info]
    assert "human_normalised" not in summary
    assert "human_normalised" in score_summary("ALE/Pong-v5", 70, [1.0], {}, EVALUATION)


def best(mean: float, by: str = EVALUATION, episodes: int = RECENT) -> dict[str, Any]:
    return {"mean": mean, "by": by, "episodes": episodes}


@pytest.mark.parametrize("by", [EVALUATION, TRAINING])
def test_the_later_of_equals_is_best(by: str) -> None:
    assert is_best([1.0], by, None)
    assert is_best([1.0, 3.0], by, best(2, by))
    assert not is_best([1.0, 3.0], by, best(2.1, by))
    assert not is_best([np.nan], by, best(-9, by))


def test_training_and_evaluation_are_not_compared() -> None:
    assert is_best([1.0], EVALUATION, best(5, TRAINING))
    assert is_best([1.0], TRAINING, best(5))
    assert not is_best([1.0], EVALUATION, {"mean": 5, "episodes": 2})  # of an older version


def test_the_mean_of_few_training_episodes_is_replaced() -> None:
    assert is_best([1.0], TRAINING, best(5, TRAINING, episodes=RECENT - 1))
    assert not is_best([1.0], EVALUATION, best(5, episodes=RECENT - 1))


class Fading(gymnasium.Env[Any, Any]):
    """One step an episode; it pays more and more, and less after 200 episodes."""

    observation_space, action_space = spaces.Box(0, 1, (2,), np.float32), spaces.Discrete(2)
    open = most_open = 0

    def __init__(self) -> None:
        Fading.open += 1
        Fading.most_open = max(Fading.most_open, Fading.open)
        self.episodes = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.episodes += 1
        lucky = 1000.0 if self.episodes == 3 else 0.0
        reward = lucky + (self.episodes if self.episodes <= 200 else -self.episodes)
        return np.zeros(2, np.float32), reward, True, False, {"paid": reward}

    def close(self) -> None:
        Fading.open -= 1


@pytest.fixture(autouse=True)
def _fading(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    gymnasium.register("Fading-v1", Fading)
    monkeypatch.setattr(Fading, "open", 0)
    monkeypatch.setattr(Fading, "most_open", 0)
    yield
    del gymnasium.registry["Fading-v1"]


WORDS = (*SMALL, "env=Fading-v1", "eval.every=null", "log.every=50")


def test_without_evaluations_the_best_policy_has_the_highest_training_returns(
    settings_of: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train_alone(Job(settings_of(*WORDS, "log.info=[paid]"), tmp_path, []))
    assert result["final"] is None
    summary = result["best"]
    # The lucky third episode is in no window of 100 episodes that is compared, but the first.
    assert (summary["by"], summary["step"], summary["episodes"]) == ("training", 200, 100)
    assert summary["mean"] == pytest.approx(np.mean(range(101, 201)))
    assert summary["info"] == {
        "paid": {
            "mean": pytest.approx(np.mean(range(151, 201))),
            "at_end": pytest.approx(summary["mean"]),
        }
    }
    assert summary["mean_ci95"][0] < summary["mean"] < summary["mean_ci95"][1]
    assert json.loads((tmp_path / "result.json").read_text())["best"]["by"] == "training"
    assert load_checkpoint(tmp_path / "checkpoints" / "best")["clock"][0] == 200
    assert not [tag for tag in rows(tmp_path) if tag.startswith("eval/")]
    first = capsys.readouterr().out.splitlines()[0]
    assert first.endswith("no evaluations, so checkpoints/best goes by the mean of recent training"
                          " returns")  # fmt: skip


def test_without_evaluations_only_one_environment_exists(
    settings_of: Compose, tmp_path: Path
) -> None:
    words = (*WORDS, "+eval.env.kwargs.unknown=1")  # which is never passed on
    assert train_alone(Job(settings_of(*words), tmp_path, []))["status"] == "finished"
    assert (Fading.most_open, Fading.open) == (1, 0)


def test_a_run_that_ends_before_its_first_row_has_a_best_policy_too(
    settings_of: Compose, tmp_path: Path
) -> None:
    result = train_alone(Job(settings_of(*WORDS, "log.every=1000", "steps=60"), tmp_path, []))
    assert (result["best"]["step"], result["best"]["episodes"]) == (60, 60)


def test_a_run_without_a_finished_episode_has_no_best_policy(
    settings_of: Compose, tmp_path: Path
) -> None:
    words = (*SMALL, "eval.every=null", "steps=5", "learning_starts=4")
    assert train_alone(Job(settings_of(*words), tmp_path, []))["best"] is None
    assert not (tmp_path / "checkpoints" / "best").exists()


def test_a_resumed_run_may_begin_to_evaluate(settings_of: Compose, tmp_path: Path) -> None:
    first = train_alone(Job(settings_of(*WORDS), tmp_path, []))
    longer = settings_of(*WORDS, "eval.every=100", "steps=400")
    second = train_alone(Job(longer, tmp_path, [], resumes=True))
    assert second["best"]["by"] == second["final"]["by"] == "evaluation"
    assert second["best"]["mean"] < first["best"]["mean"]


def test_members_without_evaluations_have_their_own_best_policies(
    settings_of: Compose, tmp_path: Path
) -> None:
    jobs = []
    for seed in range(2):
        (tmp_path / str(seed)).mkdir()
        jobs.append(Job(settings_of(*WORDS, f"seed={seed}"), tmp_path / str(seed), []))
    results = Session(jobs, "jobs")()
    assert [result["best"]["step"] for result in results] == [200, 200]
    assert Fading.most_open == 2
