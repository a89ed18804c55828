from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import unseeded
from test_recorder import SMALL

from dqn_cli.replay.stream import Stream
from dqn_cli.runs.job import Job
from dqn_cli.runs.metrics_tracker import MetricsTracker
from dqn_cli.runs.restarts import begin_new_episodes
from dqn_cli.runs.session import Session
from dqn_cli.runs.single_run import train_alone
from dqn_cli.runs.stopwatch import Stopwatch
from dqn_cli.training.build_run import build_run
from dqn_cli.training.loop import Run, train
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
UNSEEDED = (*SMALL, "env=unseeded:Unseeded-v0", "learning_starts=10", "eval.every=1000")


def resumed(settings: Settings, folder: Path) -> Session:
    unseeded.starts += 100  # so that no episode of the processes to come is the stored one
    return Session([Job(settings, folder, [], resumes=True)])


def check_transitions(stream: Stream) -> None:
    """Every transition that can be sampled is one that happened: [episode, time + 1] follows."""
    stream.check_valid()
    for ring in range(stream.head.size):
        order = (stream.first[ring] + np.arange(stream.count[ring])) % stream.capacity
        slots = stream.queue[ring, order]
        before, after = (stream.obs[ring, at % stream.slots] for at in (slots, slots + 1))
        assert len(slots) > 20
        assert (after - before == [0, 1]).all()


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("env.num_envs=3",),
        ("env.num_envs=2", "env.vectorization=async"),
        ("agent=drqn", "network.length=4", "network.burn_in=2", "network.units=8"),
        ("agent=rainbow", "env.min_return=0", "env.max_return=100"),
        ("env.preprocess.stack=2", "replay.n_step=3"),
    ],
    ids=["one", "sync", "async", "drqn", "rainbow", "stack"],
)
def test_a_run_goes_on_with_new_episodes(
    settings_of: Compose, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...]
) -> None:
    first = train_alone(Job(settings_of(*UNSEEDED, *words, "steps=32"), tmp_path, []))
    assert first["exact"] is True
    capsys.readouterr()
    settings = settings_of(*UNSEEDED, *words, "steps=90")
    session = resumed(settings, tmp_path)
    assert (session.run.envs.obs[..., -1] == 0).all()
    session.run.stream.check_valid()
    (second,) = session()
    check_transitions(session.run.stream)
    printed = " ".join(capsys.readouterr().out.split())
    line = "env=unseeded:Unseeded-v0 does not repeat its seed: "
    assert printed.count(line) == 1
    copies = settings.env.num_envs
    begun = "it begins a new episode" if copies == 1 else f"{copies} of {copies} copies begin"
    assert begun in printed
    assert "the result is marked as not exact" in printed
    assert second["exact"] is False
    assert second["steps"] >= 90
    returns = session.recorders[0].tracker.state()["returns"]
    assert set(returns) <= {4.0, 7.0}  # a return that goes on from an earlier episode has another


def test_exact_stays_false(settings_of: Compose, tmp_path: Path) -> None:
    words = (*SMALL, "learning_starts=10", "eval.every=1000")
    train_alone(Job(settings_of(*words, "steps=20", "checkpoint.replay=false"), tmp_path, []))
    (second,) = resumed(settings_of(*words, "steps=40"), tmp_path)()
    assert second["exact"] is False
    (third,) = resumed(settings_of(*words, "steps=60"), tmp_path)()
    assert third["exact"] is False
    assert json.loads((tmp_path / "result.json").read_text())["exact"] is False


def test_a_resumed_run_that_repeats_its_seeds_is_exact(
    settings_of: Compose, tmp_path: Path
) -> None:
    words = (*SMALL, "learning_starts=10", "eval.every=1000")
    train_alone(Job(settings_of(*words, "steps=20"), tmp_path, []))
    (second,) = resumed(settings_of(*words, "steps=40"), tmp_path)()
    assert second["exact"] is True


def after_steps(settings: list[Settings], steps: int) -> tuple[Run, list[MetricsTracker]]:
    _, run = build_run(settings)
    envs, watch = settings[0].env.num_envs, Stopwatch()
    trackers = [
        MetricsTracker(envs, watch, torch.zeros(9), member) for member, _ in enumerate(settings)
    ]
    for report in islice(train(settings, run), steps):
        for tracker in trackers:
            tracker.record(report)
    return run, trackers


@pytest.mark.parametrize("network", ["mlp", "gru"])
@pytest.mark.parametrize("steps", [4, 30])
def test_all_other_members_and_environments_stay_as_they_were(
    settings_of: Compose, network: str, steps: int
) -> None:
    words = (*SMALL, "env.num_envs=2", f"network={network}", "learning_starts=20", "steps=200")
    settings = [settings_of(*words, f"seed={seed}") for seed in (3, 4)]
    run, _ = after_steps(settings, steps)
    other, trackers = after_steps(settings, steps)
    other.envs.not_restored = {3: "does not repeat its seed: it differs"}
    line = begin_new_episodes(settings, other, trackers)
    assert line == (
        "env=CartPole-v1 does not repeat its seed: it differs; 1 of 4 copies begin a new episode,"
        " and the result is marked as not exact"
    )
    assert other.exact == [True, False]
    assert (other.action.ravel() == run.action.ravel())[:3].all()
    np.testing.assert_array_equal(other.state.reshape(4, -1)[:3], run.state.reshape(4, -1)[:3])
    assert [stream.state(0) for stream in other.random] == [
        stream.state(0) for stream in run.random
    ]
    assert (trackers[1].state()["return"][1], trackers[1].state()["length"][1]) == (0, 0)
    assert trackers[1].state()["length"][0] > 0
    other.stream.check_valid()
    assert other.stream.head.tolist() == [*run.stream.head[:3].tolist(), run.stream.head[3] + 1]


def test_a_new_episode_follows_a_head_of_its_own(settings_of: Compose) -> None:
    words = (*SMALL, "agent=bootstrapped", "exploration=bootstrapped", "head.heads=1000")
    settings = [settings_of(*words, "env.num_envs=2", "steps=200", "learning_starts=20")]
    run, trackers = after_steps(settings, 4)
    assert run.active_heads is not None
    before = run.active_heads.heads.copy()
    run.envs.not_restored = {1: "does not repeat its seed: it differs"}
    begin_new_episodes(settings, run, trackers)
    assert (run.active_heads.heads == before).tolist() == [[True, False]]


def test_nothing_happens_where_every_environment_was_restored(settings_of: Compose) -> None:
    settings = [settings_of(*SMALL, "steps=100")]
    run, trackers = after_steps(settings, 9)
    kept = run.action
    assert begin_new_episodes(settings, run, trackers) is None
    assert run.action is kept
    assert run.exact == [True]
