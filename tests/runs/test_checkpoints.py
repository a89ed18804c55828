from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from conftest import STREAMING
from side_by_side import check_alike, gone_on, members_of, trained

from dqn_cli.arrays import tensor
from dqn_cli.runs.checkpoints import (
    CheckpointFolder,
    expected_bytes,
    policy_data,
    restore,
    run_data,
    snapshots_in,
)
from dqn_cli.runs.metrics_tracker import MetricsTracker
from dqn_cli.runs.stopwatch import Stopwatch
from dqn_cli.storage import CheckpointError, load_checkpoint, save_checkpoint
from dqn_cli.training.build_run import build_run
from dqn_cli.training.loop import Run, train
from dqn_cli.training.randomness import Purpose, Randomness
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
SMALL = (
    "network.widths=[8]", "replay.batch_size=8", "replay.capacity=80", "learning_starts=20",
    "train_every=2", "updates_per_train=1", "steps=150",
)  # fmt: skip
RECURRENT = ("network.units=5", "network.length=4", "network.burn_in=2")
PQN = (
    "agent=pqn", "env.num_envs=4", "train_every=32", "updates_per_train=4", "learning_starts=0",
)  # fmt: skip
RUNS = {
    "per": ("agent=per",),
    "per of loss": ("agent=per", "replay.priority=loss", "replay.n_step=3", "env.num_envs=3"),
    "rainbow": ("agent=rainbow", "head.atoms=7"),
    "pqn": PQN,
    "pqn that starts late": (*PQN, "learning_starts=50"),
    "drqn": ("agent=drqn", *RECURRENT),
    "lstm of several": ("network=lstm", *RECURRENT, "env.num_envs=3", "replay=prioritised"),
    "drqn in float64": ("agent=drqn", *RECURRENT, "dtype=float64"),
    "iqn": ("agent=iqn", "head.atoms=3"),
    "btr": ("agent=btr", "head.atoms=3", "network.widths=[6,5]"),
    "resets": (
        "agent=d3qn",
        "reset.every=50",
        "reset.shrink=0.5",
        "reset.dormant=40",
        "anneal.gamma.start=0.5",
        "anneal.gamma.duration=40",
        "anneal.n_step.start=3",
        "network.widths=[6,5]",
    ),
    "boltzmann": ("exploration=boltzmann",),
    "bootstrapped": ("agent=bootstrapped", "head.heads=5", "env.num_envs=3"),
    "mixture of recurrent heads": (
        *("agent=bootstrapped", "network=gru", *RECURRENT, "head.heads=3", "head.mixture=true"),
    ),
    "stream_q": ("agent=stream_q", "env.normalize=running", *STREAMING[1:]),
    "adaptive_q": ("agent=adaptive_q", "env=LineWorld-v0", *STREAMING[1:]),
    "ladder": ("exploration=ladder", "env.num_envs=3"),
    "short episodes": ("agent=per", "env=LineWorld-v0", "replay.n_step=3"),
}


class Training(NamedTuple):
    """A run with the settings and the tracker of each member."""

    settings: Sequence[Settings]
    run: Run
    trackers: list[MetricsTracker]


def settings_for(settings_of: Compose, *words: str) -> Settings:
    """The words, and those of SMALL that they do not replace."""
    keys = {word.split("=")[0] for word in words}
    return settings_of(*words, *(word for word in SMALL if word.split("=")[0] not in keys))


def started(*settings: Settings) -> Training:
    """A run of these members before its first step."""
    run = build_run(settings)[1]
    return Training(settings, run, trackers_of(settings, run))


def trackers_of(settings: Sequence[Settings], run: Run) -> list[MetricsTracker]:
    watch, sums = Stopwatch(), run.learner.metrics
    return [MetricsTracker(each.env.num_envs, watch, sums[m], m) for m, each in enumerate(settings)]


def go_on(training: Training, until: int | None = None) -> None:
    """Trains to a step, or to the end."""
    for report in train(training.settings, training.run):
        for tracker in training.trackers:
            tracker.record(report)
        if until is not None and report.now[0].steps >= until:
            return
    training.run.envs.close()


def advanced(settings: Settings, until: int) -> Training:
    """A run that was interrupted at a step."""
    training = started(settings)
    go_on(training, until)
    training.run.envs.close()
    return training


def data_of(training: Training, member: int = 0, compiled: bool = False) -> dict[str, Any]:
    settings, tracker = training.settings[member], training.trackers[member]
    return run_data(settings, training.run, member, tracker, compiled)


def resumed(settings: Sequence[Settings], kept: Sequence[dict[str, Any]]) -> Training:
    """A run whose members go on from where these checkpoints left them."""
    snapshots = [snapshot for data in kept for snapshot in snapshots_in(data)]
    run = build_run(settings, snapshots)[1]
    training = Training(settings, run, trackers_of(settings, run))
    for member, data in enumerate(kept):
        restore(data, training.run, member, training.trackers[member])
    return training


def through_a_file(folder: Path, data: dict[str, Any]) -> dict[str, Any]:
    save_checkpoint(folder / "checkpoint", data)
    return load_checkpoint(folder / "checkpoint")


def check_same(one: Any, other: Any, where: str = "") -> None:
    """Bit for bit, through dicts, lists, tensors and numbers."""
    assert type(one) is type(other), where
    if isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            check_same(one[key], other[key], f"{where}.{key}")
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype, where
        assert torch.equal(one, other), where
    else:
        assert one == other, where


def comparable(training: Training, member: int = 0) -> dict[str, Any]:
    """All that a checkpoint holds but the time it took."""
    data = data_of(training, member)
    left_out = ("seconds", "sums")  # test_metrics_tracker.py checks the sums
    seen = {key: value for key, value in data["tracker"].items() if key not in left_out}
    return data | {"tracker": seen}


@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS.keys())
def test_an_interrupted_run_goes_on_to_the_same_bits(
    settings_of: Compose, tmp_path: Path, words: tuple[str, ...]
) -> None:
    settings = settings_for(settings_of, *words)
    whole = started(settings)
    kept = []
    for until in (13, 91):
        go_on(whole, until)
        kept.append(through_a_file(tmp_path, data_of(whole)))
    go_on(whole)
    assert whole.run.clocks[0].updates > 0
    for data in kept:
        again = resumed([settings], [data])
        assert again.run.clocks[0].steps < settings.steps
        go_on(again)
        assert torch.equal(again.run.learner.state.parameters, whole.run.learner.state.parameters)
        check_same(comparable(again), comparable(whole))


@pytest.mark.parametrize("name", ["per", "pqn", "drqn"])
def test_a_restored_run_equals_the_run_that_was_saved(
    settings_of: Compose, tmp_path: Path, name: str
) -> None:
    settings = settings_for(settings_of, *RUNS[name])
    training = advanced(settings, 100)
    again = resumed([settings], [through_a_file(tmp_path, data_of(training))])
    again.run.envs.close()
    check_same(comparable(again), comparable(training))
    np.testing.assert_array_equal(again.run.envs.obs, training.run.envs.obs)
    assert again.run.stream.nbytes == training.run.stream.nbytes
    again.run.stream.check_valid()


@pytest.mark.parametrize("name", ["per", "pqn", "drqn", "rainbow"])
def test_without_replay_a_run_goes_on_with_an_empty_buffer(
    settings_of: Compose, tmp_path: Path, name: str
) -> None:
    settings = settings_for(settings_of, *RUNS[name], "checkpoint.replay=false")
    half = advanced(settings, 100)
    data = data_of(half)
    assert data["stream"] == data["sampler"] == {}
    again = resumed([settings], [through_a_file(tmp_path, data)])
    run = again.run
    assert not run.stream.sizes.any()
    go_on(again)
    run.stream.check_valid()
    assert run.clocks[0].steps >= settings.steps
    assert run.clocks[0].updates > half.run.clocks[0].updates
    assert torch.isfinite(run.learner.state.parameters).all()


def test_without_replay_learning_waits_for_learning_starts_again(
    settings_of: Compose, tmp_path: Path
) -> None:
    settings = settings_of(*SMALL, "learning_starts=60", "steps=400", "checkpoint.replay=false")
    half = advanced(settings, 100)
    run = resumed([settings], [through_a_file(tmp_path, data_of(half))]).run
    began = [report.now[0].steps for report in train([settings], run) if report.updates]
    run.envs.close()
    assert 160 < began[0] <= 160 + settings.train_every


def test_a_recurrent_runs_memory_is_in_its_checkpoint(settings_of: Compose, tmp_path: Path) -> None:
    settings = settings_of("agent=drqn", *RECURRENT, *SMALL)
    training = advanced(settings, 100)
    assert training.run.state.any()
    data = through_a_file(tmp_path, data_of(training))
    assert data["state"].tolist() == training.run.state[0].tolist()
    assert data["stream"]["state"].any()


def test_every_random_stream_that_was_used_is_in_the_checkpoint(
    settings_of: Compose,
) -> None:
    words = ("agent=rainbow", "head.atoms=7", "reset.every=50", "exploration=linear", *SMALL)
    settings = settings_of(*words)
    data = data_of(advanced(settings, 150))
    assert set(data["random"]) == {"exploration", "replay", "noise", "resets"}
    for name, state in data["random"].items():
        assert state != Randomness([settings.seed], Purpose(name)).state(0), name


@pytest.mark.parametrize("compiled", [False, True])
def test_a_checkpoint_says_whether_updates_run_as_compiled_code(
    settings_of: Compose, tmp_path: Path, compiled: bool
) -> None:
    settings = settings_of(*SMALL)
    data = data_of(advanced(settings, 30), compiled=compiled)
    assert through_a_file(tmp_path, data)["compiled"] is compiled
    CheckpointFolder(tmp_path, 0).save_last(data)
    assert load_checkpoint(tmp_path / "checkpoints" / "last")["compiled"] is compiled


def replay_tensors(run: Run) -> list[Any]:
    """The sampler's storage, which an update reads and writes in place."""
    storage = run.sampler.storage
    assert storage.priorities is not None
    tree, *numbers = storage.priorities
    return [*storage.stream, storage.gamma, *tree.levels, *numbers]


def test_restoring_keeps_the_memory_addresses_that_a_compiled_update_uses(
    settings_of: Compose,
) -> None:
    settings = settings_for(settings_of, *RUNS["per"])
    half = advanced(settings, 100)
    _, run = build_run([settings])
    run.envs.close()
    before = (*run.learner.state, *replay_tensors(run))
    addresses = [tensor(values).data_ptr() for values in before]
    restore(data_of(half), run, 0, MetricsTracker(1, Stopwatch(), run.learner.metrics[0]))
    after = (*run.learner.state, *replay_tensors(run))
    assert [tensor(values).data_ptr() for values in after] == addresses
    assert all(map(torch.equal, run.learner.state, half.run.learner.state))


def test_policy_data_holds_no_training_state(settings_of: Compose) -> None:
    settings = settings_of("agent=rainbow", *SMALL)
    data = policy_data(settings, advanced(settings, 30).run, 0)
    assert set(data) == {"settings", "spaces", "clock", "parameters", "layout", "versions"}
    assert data["settings"]["head"]["type"] == "C51"


def test_the_expected_size_counts_priorities(settings_of: Compose) -> None:
    words = ("network.widths=[8]", "replay.capacity=3200")
    plain, prioritised = settings_of(*words), settings_of(*words, "replay=prioritised")
    sizes = []
    for settings in (plain, prioritised):
        _, run = build_run([settings])
        run.envs.close()
        sizes.append(expected_bytes(settings, run))
    # 100 blocks of 32 priorities in float64, and a sum for each block.
    assert sizes[1] - sizes[0] == (3200 + 100) * 8
    _, run = build_run([prioritised])
    run.envs.close()
    without = settings_of(*words, "replay=prioritised", "checkpoint.replay=false")
    assert expected_bytes(without, run) == sizes[0] - run.stream.nbytes


def test_partial_files_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    checkpoints = tmp_path / "checkpoints"
    checkpoints.mkdir()
    torn = [".last.123.tmp", ".best.45.tmp", ".step_0000000700.6.tmp"]
    others = ["last", "best", "step_0000000700", "evaluation.json", ".evaluation.json.7.tmp"]
    for name in torn + others:
        (checkpoints / name).touch()
    CheckpointFolder(tmp_path, 1)
    assert {path.name for path in checkpoints.iterdir()} == set(others)


def test_parameters_that_are_not_finite_are_never_saved(
    settings_of: Compose, tmp_path: Path
) -> None:
    settings = settings_of("agent=per", *SMALL)
    training = advanced(settings, 30)
    folder = CheckpointFolder(tmp_path, 0)
    folder.save_last(data_of(training))
    training.run.learner.state.parameters[0, 3] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        folder.save_last(data_of(training))
    with pytest.raises(CheckpointError, match="not finite"):
        folder.save_best(policy_data(settings, training.run, 0))
    kept = load_checkpoint(tmp_path / "checkpoints" / "last")
    assert torch.isfinite(kept["parameters"]).all()


CASES = ("numbers", "per of several", "pqn", "resets", "lstm", "nature")


def half_way(settings: Sequence[Settings]) -> Training:
    """A run of several members that was interrupted in the middle."""
    training = started(*settings)
    go_on(training, settings[0].steps * 2 // 3)
    return training


def kept_of(folder: Path, training: Training) -> list[dict[str, Any]]:
    """A checkpoint of each member."""
    members = range(len(training.settings))
    return [through_a_file(folder, data_of(training, member)) for member in members]


@pytest.mark.parametrize("case", CASES)
def test_a_group_resumes_to_the_same_bits(settings_of: Compose, tmp_path: Path, case: str) -> None:
    settings = members_of(settings_of, case)
    whole = half_way(settings)
    again = resumed(settings, kept_of(tmp_path, whole))
    for training in (whole, again):
        go_on(training)
    for member in range(len(settings)):
        check_same(comparable(again, member), comparable(whole, member))


@pytest.mark.parametrize("case", CASES)
def test_a_member_of_a_group_resumes_alone_as_if_it_had_always_been_alone(
    settings_of: Compose, tmp_path: Path, case: str
) -> None:
    settings = members_of(settings_of, case)
    half = half_way(settings)
    half.run.envs.close()
    for mine, data in zip(settings[1:], kept_of(tmp_path, half)[1:], strict=True):
        again = resumed([mine], [data])
        assert again.run.clocks[0].updates > 0
        (member,), (alone,) = gone_on([mine], again.run), trained(mine)
        check_alike(member, replace(alone, epsilons=alone.epsilons[-len(member.epsilons) :]))


def test_runs_that_were_alone_resume_as_a_group_in_any_order(
    settings_of: Compose, tmp_path: Path
) -> None:
    settings = members_of(settings_of, "per of several")[::-1]
    kept = [through_a_file(tmp_path, data_of(advanced(each, 90))) for each in settings]
    together = gone_on(settings, resumed(settings, kept).run)
    for mine, member in zip(settings, together, strict=True):
        (alone,) = trained(mine)
        check_alike(member, replace(alone, epsilons=alone.epsilons[-len(member.epsilons) :]))


@pytest.mark.parametrize("case", ["rainbow", "per of several"])
def test_a_members_checkpoint_holds_nothing_of_its_neighbours(
    settings_of: Compose, tmp_path: Path, case: str
) -> None:
    settings = members_of(settings_of, case)
    half, sizes = half_way(settings), []
    half.run.envs.close()
    alone = half_way(settings[:1])
    alone.run.envs.close()
    for training in (half, alone):
        save_checkpoint(tmp_path / "checkpoint", data_of(training))
        sizes.append((tmp_path / "checkpoint").stat().st_size)
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)
    assert expected_bytes(settings[0], half.run) == expected_bytes(settings[0], alone.run)
    save_checkpoint(tmp_path / "policy", policy_data(settings[1], half.run, 1))
    parameters = half.run.learner.state.parameters
    loaded = load_checkpoint(tmp_path / "policy")
    assert loaded["parameters"].untyped_storage().nbytes() == parameters[0].nbytes
    assert torch.equal(loaded["parameters"], parameters[1])
    assert loaded["settings"]["seed"] == settings[1].seed
    assert loaded["clock"] == tuple(half.run.clocks[1])
