from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from dqn_cli.agent.clock import Clock
from dqn_cli.replay.stream import Step
from dqn_cli.training import tracking
from dqn_cli.training.loop import Tick
from dqn_cli.training.population import Metrics
from dqn_cli.training.tracking import RECENT, Tracker

NOW = Clock(40, 3, 2)


def tick(
    rewards: list[float],
    terminated: list[int] = [],  # noqa: B006
    truncated: list[int] = [],  # noqa: B006
    metrics: list[torch.Tensor] = [],  # noqa: B006
) -> Tick:
    envs = range(len(rewards))
    ends = [np.array([[env in which for env in envs]]) for which in (terminated, truncated)]
    obs, mask = np.zeros((1, len(rewards), 1)), np.ones((1, len(rewards), 2), bool)
    step = Step(np.array([rewards]), *ends, obs, mask, obs, mask)
    return Tick(Clock(), Clock(), step, 0.5, metrics)


def metrics(
    loss: float, q: float, td_error: float, norm: float, edge_mass: float = 0.0
) -> torch.Tensor:
    values = {"loss": loss, "q": q, "td_error": td_error, "gradient_norm": norm}
    values |= {"edge_mass": edge_mass}
    return torch.stack(Metrics(**{name: torch.tensor([x]) for name, x in values.items()}))


def row(tracker: Tracker) -> dict[str, float]:
    return tracker.row(NOW, 0.25, 1e-3)


def test_what_has_not_happened_yet_is_left_out() -> None:
    found = row(Tracker(2))
    assert found.pop("time/fps") > 0
    assert found == {
        "rollout/exploration_rate": 0.25,
        "train/learning_rate": 1e-3,
        "train/n_updates": 3,
        "time/episodes": 2,
    }


def test_returns_and_lengths_are_those_of_each_environments_episodes() -> None:
    tracker = Tracker(2)
    tracker.see(tick([1, 10]))
    tracker.see(tick([2, 20], terminated=[0]))
    assert row(tracker)["rollout/ep_rew_mean"] == 3
    assert row(tracker)["rollout/ep_len_mean"] == 2
    tracker.see(tick([4, 30], truncated=[0, 1]))
    found = row(tracker)
    assert found["rollout/ep_rew_mean"] == pytest.approx((3 + 4 + 60) / 3)
    assert found["rollout/ep_len_mean"] == pytest.approx((2 + 1 + 3) / 3)


def test_means_roll_over_the_latest_hundred_episodes() -> None:
    tracker = Tracker(1)
    for number in range(RECENT + 50):
        tracker.see(tick([number], terminated=[0]))
    assert RECENT == 100
    assert row(tracker)["rollout/ep_rew_mean"] == pytest.approx(np.mean(range(50, 150)))


def test_epsilon_is_told_as_the_mean_of_the_environments() -> None:
    epsilon = np.array([0.5, 0.25, 0.125])
    found = Tracker(3).row(NOW, epsilon, 1e-3)["rollout/exploration_rate"]
    assert found == pytest.approx(0.875 / 3)
    assert type(found) is float


def test_updates_are_averaged_since_the_last_row() -> None:
    tracker = Tracker(1)
    tracker.see(tick([0], metrics=[metrics(1, 2, 3, 4), metrics(3, 4, 5, 6)]))
    tracker.see(tick([0], metrics=[metrics(5, 9, 1, 2)]))
    found = row(tracker)
    names = ("loss", "q_mean", "td_error", "gradient_norm")
    assert [found[f"train/{name}"] for name in names] == [3, 5, 3, 4]
    assert not any(f"train/{name}" in row(tracker) for name in names)
    tracker.see(tick([0], metrics=[metrics(7, 0, 0, 0)]))
    assert row(tracker)["train/loss"] == 7


def test_the_mass_at_the_edges_is_told_where_there_is_any() -> None:
    tracker = Tracker(1)
    tracker.see(tick([0], metrics=[metrics(1, 1, 1, 1), metrics(1, 1, 1, 1)]))
    assert "train/edge_mass" not in row(tracker)
    tracker.see(tick([0], metrics=[metrics(1, 1, 1, 1, 0.5), metrics(1, 1, 1, 1, 0.25)]))
    assert row(tracker)["train/edge_mass"] == 0.375


class Stopwatch:
    """A clock that goes on only when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    watch = Stopwatch()
    monkeypatch.setattr(tracking, "time", watch)
    return watch


def test_time_is_booked_where_it_went(stopwatch: Stopwatch) -> None:
    tracker = Tracker(1)
    laps = ((1, "start"), (2, "train"), (4, "eval"), (8, "train"), (16, "compile"), (32, "train"))
    for seconds, what in laps:
        stopwatch.now += seconds
        tracker.lap(what)
    assert tracker.seconds == {"start": 1, "train": 42, "eval": 4, "compile": 16}


def test_what_happens_inside_is_booked_and_the_time_before_it_as_training(
    stopwatch: Stopwatch,
) -> None:
    tracker = Tracker(1)
    stopwatch.now += 1
    tracker.lap("start")
    stopwatch.now += 2
    for inside in (4, 8):
        with tracker.booked("compile"):
            stopwatch.now += inside
        stopwatch.now += 16
    tracker.lap("train")
    assert tracker.seconds == {"start": 1, "train": 34, "eval": 0, "compile": 12}


def test_a_failure_inside_is_passed_on_and_no_time_is_lost(stopwatch: Stopwatch) -> None:
    tracker = Tracker(1)

    def fail() -> None:
        stopwatch.now += 5
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), tracker.booked("compile"):
        fail()
    tracker.lap("train")
    assert sum(tracker.seconds.values()) == 5


def test_speed_leaves_out_what_was_booked_elsewhere(stopwatch: Stopwatch) -> None:
    tracker = Tracker(1)
    stopwatch.now += 2
    with tracker.booked("compile"):
        stopwatch.now += 100
    stopwatch.now += 3
    assert tracker.row(Clock(50), 0, 0)["time/fps"] == 10


def test_speed_is_that_of_training_since_the_last_row(stopwatch: Stopwatch) -> None:
    tracker = Tracker(1)
    stopwatch.now += 4
    assert tracker.row(Clock(100), 0, 0)["time/fps"] == 25
    stopwatch.now += 2
    tracker.lap("train")
    stopwatch.now += 100
    tracker.lap("eval")
    stopwatch.now += 3
    assert tracker.row(Clock(600), 0, 0)["time/fps"] == 100


def seen() -> Tracker:
    tracker = Tracker(2)
    tracker.see(tick([1, 10], terminated=[0], metrics=[metrics(1, 2, 3, 4)]))
    tracker.see(tick([2, 20]))
    tracker.best = {"mean": 5.0, "step": 7}
    return tracker


def go_on(tracker: Tracker) -> dict[str, Any]:
    tracker.see(tick([4, 40], truncated=[0, 1], metrics=[metrics(3, 3, 3, 3)]))
    found = row(tracker)
    del found["time/fps"]
    return found


def test_a_tracker_goes_on_from_its_state() -> None:
    first, second = seen(), Tracker(2)
    second.load(json.loads(json.dumps(first.state())), NOW)
    assert second.best == first.best
    expected = go_on(seen())
    assert expected["rollout/ep_rew_mean"] == pytest.approx((1 + 6 + 70) / 3)
    assert expected["train/loss"] == 2
    assert go_on(second) == expected
    assert json.loads(json.dumps(second.state())) == second.state()


def test_sums_go_on_from_a_state_without_losing_digits() -> None:
    first, second = Tracker(1), Tracker(1)
    # 0.1 is no number of float32, so that rounding it would show.
    doubles = torch.full((len(Metrics._fields), 1), 0.1, dtype=torch.float64)
    first.see(tick([0.1], metrics=[doubles] * 3))
    second.load(json.loads(json.dumps(first.state())), NOW)
    assert second.state()["sums"] == first.state()["sums"]
    assert row(second)["train/loss"] == row(first)["train/loss"]


def test_seconds_go_on_from_a_state(stopwatch: Stopwatch) -> None:
    first = Tracker(1)
    stopwatch.now += 50
    first.lap("train")
    stopwatch.now += 8
    first.lap("compile")
    second = Tracker(1)
    stopwatch.now += 3
    second.lap("start")
    second.load(first.state(), Clock(1000))
    assert second.seconds == {"start": 3, "train": 50, "eval": 0, "compile": 8}
    stopwatch.now += 10
    assert second.row(Clock(1200), 0, 0)["time/fps"] == 20
    assert second.seconds["train"] == 60
    assert first.seconds["train"] == 50
