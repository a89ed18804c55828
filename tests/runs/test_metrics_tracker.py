from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from test_stopwatch import Time

from dqn_cli.agent.clock import Clock
from dqn_cli.agent.metrics import Metrics
from dqn_cli.replay.stream import EnvStep
from dqn_cli.runs import stopwatch
from dqn_cli.runs.metrics_tracker import MANY_ENVS, RECENT, MetricsTracker, combine_members
from dqn_cli.runs.stopwatch import Stopwatch
from dqn_cli.training.loop import StepReport

NOW = Clock(40, 3, 2)


def report(
    rewards: list[float],
    terminated: list[int] = [],  # noqa: B006
    truncated: list[int] = [],  # noqa: B006
    updates: int = 0,
) -> StepReport:
    envs = range(len(rewards))
    ends = [np.array([[env in which for env in envs]]) for which in (terminated, truncated)]
    obs, mask = np.zeros((1, len(rewards), 1)), np.ones((1, len(rewards), 2), bool)
    step = EnvStep(np.array([rewards]), *ends, np.zeros_like(ends[0]), obs, mask, obs, mask)
    ended = step.ended.tolist()
    return StepReport([Clock()], [Clock()], step, ended, np.array([[0.5]]), updates, [False])


def learn(tracker: MetricsTracker, *updates: torch.Tensor) -> None:
    """A learner adds up what its updates see, and then a step is seen that these followed."""
    for metrics in updates:
        tracker.sums += metrics
    envs = len(tracker.state()["return"])
    tracker.record(report([0] * envs, updates=len(updates)))


def metrics(
    loss: float, q_mean: float, td_error: float, norm: float, edge_mass: float = 0.0
) -> torch.Tensor:
    values = {"loss": loss, "q_mean": q_mean, "td_error": td_error, "gradient_norm": norm}
    values |= {"edge_mass": edge_mass, "auxiliary_loss": 0.0, "bonus": 0.0}
    return torch.stack(Metrics(**{name: torch.tensor(x) for name, x in values.items()}))


def no_sums() -> torch.Tensor:
    return torch.zeros(len(Metrics._fields), dtype=torch.float64)


def row(tracker: MetricsTracker) -> dict[str, float]:
    return tracker.collect_metrics(at(NOW), 1e-3)


def at(now: Clock, *epsilon: float) -> StepReport:
    """A step that one environment took without reward."""
    return report([0])._replace(now=[now], epsilon=np.array([epsilon or [0.25]]))


def tracker_of(envs: int) -> MetricsTracker:
    return MetricsTracker(envs, Stopwatch(), no_sums())


def test_metrics_without_a_value_yet_are_left_out() -> None:
    metrics_by_tag = row(tracker_of(2))
    assert metrics_by_tag.pop("time/fps") > 0
    assert metrics_by_tag == {
        "rollout/exploration_rate": 0.25,
        "train/learning_rate": 1e-3,
        "train/n_updates": 3,
        "time/episodes": 2,
    }


def test_returns_and_lengths_are_those_of_each_environments_episodes() -> None:
    tracker = tracker_of(2)
    tracker.record(report([1, 10]))
    tracker.record(report([2, 20], terminated=[0]))
    assert row(tracker)["rollout/ep_rew_mean"] == 3
    assert row(tracker)["rollout/ep_len_mean"] == 2
    tracker.record(report([4, 30], truncated=[0, 1]))
    metrics_by_tag = row(tracker)
    assert metrics_by_tag["rollout/ep_rew_mean"] == pytest.approx((3 + 4 + 60) / 3)
    assert metrics_by_tag["rollout/ep_len_mean"] == pytest.approx((2 + 1 + 3) / 3)


@pytest.mark.parametrize("envs", [2, MANY_ENVS])
def test_steps_that_only_begin_an_episode_count_for_nothing(envs: int) -> None:
    tracker = tracker_of(envs)
    resets = np.zeros((1, envs), bool)
    tracker.record(report([1] * envs, terminated=[0]))
    resets[0, 0] = True
    begun = report([0, *[2] * (envs - 1)])
    tracker.record(begun._replace(step=begun.step._replace(is_reset=resets)))
    tracker.record(report([4] * envs, truncated=[*range(envs)]))
    state = tracker.state()
    assert state["returns"] == [1, 4, *[7] * (envs - 1)]
    assert state["lengths"] == [1, 1, *[3] * (envs - 1)]
    assert state["return"] == [0] * envs


def test_many_environments_are_recorded_as_few_are() -> None:
    few, many = [tracker_of(MANY_ENVS // 2) for _ in range(2)], tracker_of(MANY_ENVS)
    random, returns = np.random.default_rng(0), list[float]()
    for _ in range(40):
        rewards = random.normal(size=MANY_ENVS)
        ended = np.flatnonzero(random.random(MANY_ENVS) < 0.02).tolist()
        many.record(report(rewards.tolist(), terminated=ended))
        for half, tracker in enumerate(few):
            rows = range(half * MANY_ENVS // 2, (half + 1) * MANY_ENVS // 2)
            own = [row - rows.start for row in ended if row in rows]
            tracker.record(report(rewards[rows.start : rows.stop].tolist(), terminated=own))
            returns += tracker.state()["returns"][len(tracker.state()["returns"]) - len(own) :]
    assert many.state()["returns"] == returns
    running = [number for tracker in few for number in tracker.state()["return"]]
    assert many.state()["return"] == running
    other = tracker_of(MANY_ENVS)
    other.load(many.state(), Clock())
    other.record(report([1] * MANY_ENVS))
    assert other.state()["return"] == [number + 1 for number in running]
    assert all(type(number) is float for number in other.state()["return"])


def test_means_roll_over_the_latest_hundred_episodes() -> None:
    tracker = tracker_of(1)
    for number in range(RECENT + 50):
        tracker.record(report([number], terminated=[0]))
    assert RECENT == 100
    assert row(tracker)["rollout/ep_rew_mean"] == pytest.approx(np.mean(range(50, 150)))


def test_epsilon_is_the_mean_of_the_environments() -> None:
    metrics_by_tag = tracker_of(3).collect_metrics(at(NOW, 0.5, 0.25, 0.125), 1e-3)[
        "rollout/exploration_rate"
    ]
    assert metrics_by_tag == pytest.approx(0.875 / 3)
    assert type(metrics_by_tag) is float


def test_metrics_of_updates_are_averaged_since_the_last_call() -> None:
    tracker = tracker_of(1)
    learn(tracker, metrics(1, 2, 3, 4), metrics(3, 4, 5, 6))
    learn(tracker, metrics(5, 9, 1, 2))
    metrics_by_tag = row(tracker)
    names = ("loss", "q_mean", "td_error", "gradient_norm")
    assert [metrics_by_tag[f"train/{name}"] for name in names] == [3, 5, 3, 4]
    assert not any(f"train/{name}" in row(tracker) for name in names)
    learn(tracker, metrics(7, 0, 0, 0))
    assert row(tracker)["train/loss"] == 7


def test_edge_mass_is_left_out_if_it_is_zero() -> None:
    tracker = tracker_of(1)
    learn(tracker, metrics(1, 1, 1, 1), metrics(1, 1, 1, 1))
    assert "train/edge_mass" not in row(tracker)
    learn(tracker, metrics(1, 1, 1, 1, 0.5), metrics(1, 1, 1, 1, 0.25))
    assert row(tracker)["train/edge_mass"] == 0.375


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    time = Time()
    monkeypatch.setattr(stopwatch, "time", time)
    return time


def test_speed_leaves_out_the_time_of_other_activities(time: Time) -> None:
    watch = Stopwatch()
    tracker = MetricsTracker(1, watch, no_sums())
    time.now += 2
    with watch.measure("compile"):
        time.now += 100
    time.now += 3
    assert tracker.collect_metrics(at(Clock(50)), 0)["time/fps"] == 10


def test_speed_is_that_of_training_since_the_last_row(time: Time) -> None:
    watch = Stopwatch()
    tracker = MetricsTracker(1, watch, no_sums())
    time.now += 4
    assert tracker.collect_metrics(at(Clock(100)), 0)["time/fps"] == 25
    time.now += 2
    watch.record_lap("train")
    time.now += 100
    watch.record_lap("eval")
    time.now += 3
    assert tracker.collect_metrics(at(Clock(600)), 0)["time/fps"] == 100


def seen() -> MetricsTracker:
    tracker = tracker_of(2)
    tracker.record(report([1, 10], terminated=[0], updates=1))
    tracker.sums += metrics(1, 2, 3, 4)
    tracker.record(report([2, 20]))
    tracker.best = {"mean": 5.0, "step": 7}
    return tracker


def go_on(tracker: MetricsTracker) -> dict[str, Any]:
    tracker.record(report([4, 40], truncated=[0, 1], updates=1))
    tracker.sums += metrics(3, 3, 3, 3)
    metrics_by_tag = row(tracker)
    del metrics_by_tag["time/fps"]
    return metrics_by_tag


def test_a_tracker_goes_on_from_its_state() -> None:
    first, second = seen(), tracker_of(2)
    second.load(json.loads(json.dumps(first.state())), NOW)
    assert second.best == first.best
    expected = go_on(seen())
    assert expected["rollout/ep_rew_mean"] == pytest.approx((1 + 6 + 70) / 3)
    assert expected["train/loss"] == 2
    assert go_on(second) == expected
    assert json.loads(json.dumps(second.state())) == second.state()


def test_sums_go_on_from_a_state_without_losing_digits() -> None:
    first, second = tracker_of(1), tracker_of(1)
    # 0.1 is no number of float32, so that rounding it would show.
    doubles = torch.full((len(Metrics._fields),), 0.1, dtype=torch.float64)
    learn(first, *[doubles] * 3)
    second.load(json.loads(json.dumps(first.state())), NOW)
    assert second.state()["sums"] == first.state()["sums"]
    assert row(second)["train/loss"] == row(first)["train/loss"]


def test_seconds_go_on_from_a_state(time: Time) -> None:
    watch = Stopwatch()
    first = MetricsTracker(1, watch, no_sums())
    time.now += 50
    watch.record_lap("train")
    time.now += 8
    watch.record_lap("compile")
    later = Stopwatch()
    second = MetricsTracker(1, later, no_sums())
    time.now += 3
    later.record_lap("start")
    second.load(first.state(), Clock(1000))
    assert second.seconds == {"start": 3, "train": 50, "eval": 0, "compile": 8}
    time.now += 10
    assert second.collect_metrics(at(Clock(1200)), 0)["time/fps"] == 20
    assert second.seconds["train"] == 60
    assert first.seconds["train"] == 50


def of_two_members() -> StepReport:
    """Each has two environments, of which one ends an episode."""
    one, other = report([1, 10], terminated=[1]), report([2, 20], truncated=[0])
    pairs = zip(one.step[:8], other.step[:8], strict=True)  # the arrays that every step has
    step = EnvStep(*(np.concatenate(each) for each in pairs))
    epsilon = np.array([[0.5, 0.25], [0.125, 0.125]])
    now = [NOW, Clock(40, 3, 9)]
    ended = one.ended + other.ended
    return one._replace(now=now, step=step, ended=ended, epsilon=epsilon, updates=1)


def test_each_member_gets_its_own_metrics() -> None:
    both, watch = of_two_members(), Stopwatch()
    rows = []
    sums = torch.stack([metrics(1, 2, 3, 4), metrics(5, 6, 7, 8, 0.5)]).double()
    for member in (0, 1):
        tracker = MetricsTracker(2, watch, sums[member], member)
        tracker.record(both)
        rows.append(tracker.collect_metrics(both, 1e-3))
    by_tag = {tag: [row.get(tag) for row in rows] for tag in rows[1] if tag != "time/fps"}
    assert by_tag == {
        "rollout/exploration_rate": [0.375, 0.125],
        "train/learning_rate": [1e-3, 1e-3],
        "train/n_updates": [3, 3],
        "time/episodes": [2, 9],
        "rollout/ep_rew_mean": [10, 2],
        "rollout/ep_len_mean": [1, 1],
        "train/loss": [1, 5],
        "train/q_mean": [2, 6],
        "train/td_error": [3, 7],
        "train/gradient_norm": [4, 8],
        "train/edge_mass": [None, 0.5],
    }


def test_members_share_one_stopwatch_and_keep_the_seconds_of_earlier_sessions(time: Time) -> None:
    watch = Stopwatch()
    fresh, resumed = MetricsTracker(1, watch, no_sums()), MetricsTracker(1, watch, no_sums(), 1)
    spent = {"start": 1.0, "train": 20.0, "eval": 3.0, "compile": 0.0}
    resumed.load(resumed.state() | {"seconds": spent}, NOW)
    time.now += 5
    watch.record_lap("train")
    assert fresh.seconds == {"start": 0, "train": 5, "eval": 0, "compile": 0}
    assert resumed.seconds == {"start": 1, "train": 25, "eval": 3, "compile": 0}


def test_members_are_combined_as_their_mean_and_the_sum_of_their_speeds() -> None:
    rows = [
        {"train/loss": 1.0, "time/fps": 10.0, "rollout/ep_rew_mean": 7.0},
        {"train/loss": 4.0, "time/fps": 20.0},  # no episode has ended yet
    ]
    means = {"train/loss": 2.5, "time/fps": 30.0, "rollout/ep_rew_mean": 7.0}
    assert combine_members(rows) == means
    assert combine_members([{}, {}]) == {}
