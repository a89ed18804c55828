from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dqn_cli.arrays import tensor
from dqn_cli.storage import CheckpointError, load_checkpoint, save_checkpoint
from dqn_cli.training.building import build_run
from dqn_cli.training.checkpoints import (
    CheckpointFolder,
    expected_bytes,
    places_in,
    policy_data,
    restore,
    run_data,
)
from dqn_cli.training.loop import Run, train
from dqn_cli.training.randomness import Purpose, Randomness
from dqn_cli.training.settings import Settings
from dqn_cli.training.tracking import Tracker

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
    "resets": ("agent=d3qn", "reset.every=50", "network.widths=[6,5]"),
    "boltzmann": ("exploration=boltzmann",),
    "ladder": ("exploration=ladder", "env.num_envs=3"),
    "short episodes": ("agent=per", "env=LineWorld-v0", "replay.n_step=3"),
}


def settings_for(settings_of: Compose, *words: str) -> Settings:
    """The words, and those of SMALL that they do not replace."""
    keys = {word.split("=")[0] for word in words}
    return settings_of(*words, *(word for word in SMALL if word.split("=")[0] not in keys))


def go_on(settings: Settings, run: Run, tracker: Tracker, until: int | None = None) -> None:
    """Trains to a step, or to the end."""
    for tick in train(settings, run):
        tracker.see(tick)
        if until is not None and tick.now.steps >= until:
            return


def advanced(settings: Settings, until: int | None = None) -> tuple[Run, Tracker]:
    """A run that was interrupted at a step."""
    _, run = build_run(settings)
    tracker = Tracker(settings.env.num_envs)
    go_on(settings, run, tracker, until)
    run.envs.close()
    return run, tracker


def resumed(settings: Settings, data: dict[str, Any]) -> tuple[Run, Tracker]:
    _, run = build_run(settings, places_in(data))
    tracker = Tracker(settings.env.num_envs)
    restore(data, run, tracker)
    return run, tracker


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


def comparable(settings: Settings, run: Run, tracker: Tracker) -> dict[str, Any]:
    """All that a checkpoint holds but the time it took."""
    data = run_data(settings, run, tracker, False)
    left_out = ("seconds", "sums")  # test_tracking.py looks at the sums
    seen = {key: value for key, value in data["tracker"].items() if key not in left_out}
    return data | {"tracker": seen}


@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS.keys())
def test_an_interrupted_run_goes_on_to_the_same_bits(
    settings_of: Compose, tmp_path: Path, words: tuple[str, ...]
) -> None:
    settings = settings_for(settings_of, *words)
    _, whole = build_run(settings)
    tracker = Tracker(settings.env.num_envs)
    kept = []
    for until in (13, 91):
        go_on(settings, whole, tracker, until)
        kept.append(through_a_file(tmp_path, run_data(settings, whole, tracker, False)))
    go_on(settings, whole, tracker)
    whole.envs.close()
    assert whole.clock.updates > 0
    for data in kept:
        run, second = resumed(settings, data)
        assert run.clock.steps < settings.steps
        go_on(settings, run, second)
        run.envs.close()
        assert torch.equal(run.learner.state.parameters, whole.learner.state.parameters)
        expected = comparable(settings, whole, tracker)
        check_same(comparable(settings, run, second), expected)


@pytest.mark.parametrize("name", ["per", "pqn", "drqn"])
def test_a_restored_run_is_where_the_other_one_was(
    settings_of: Compose, tmp_path: Path, name: str
) -> None:
    settings = settings_for(settings_of, *RUNS[name])
    run, tracker = advanced(settings, 100)
    data = run_data(settings, run, tracker, False)
    again, second = resumed(settings, through_a_file(tmp_path, data))
    again.envs.close()
    expected = comparable(settings, run, tracker)
    check_same(comparable(settings, again, second), expected)
    np.testing.assert_array_equal(again.envs.obs, run.envs.obs)
    assert again.stream.nbytes == run.stream.nbytes
    again.stream.check_valid()


@pytest.mark.parametrize("name", ["per", "pqn", "drqn", "rainbow"])
def test_without_replay_a_run_goes_on_with_an_empty_buffer(
    settings_of: Compose, tmp_path: Path, name: str
) -> None:
    settings = settings_for(settings_of, *RUNS[name], "checkpoint.replay=false")
    half, tracker = advanced(settings, 100)
    data = run_data(settings, half, tracker, False)
    assert data["stream"] == data["sampler"] == {}
    run, second = resumed(settings, through_a_file(tmp_path, data))
    assert not run.stream.sizes.any()
    go_on(settings, run, second)
    run.envs.close()
    run.stream.check_valid()
    assert run.clock.steps >= settings.steps
    assert run.clock.updates > half.clock.updates
    assert torch.isfinite(run.learner.state.parameters).all()


def test_a_recurrent_runs_memory_is_in_its_checkpoint(settings_of: Compose, tmp_path: Path) -> None:
    settings = settings_of("agent=drqn", *RECURRENT, *SMALL)
    run, tracker = advanced(settings, 100)
    assert run.state.any()
    data = through_a_file(tmp_path, run_data(settings, run, tracker, False))
    assert data["state"].tolist() == run.state.tolist()
    assert data["stream"]["state"].any()


def test_every_stream_of_random_numbers_that_moved_is_in_the_checkpoint(
    settings_of: Compose,
) -> None:
    words = ("agent=rainbow", "head.atoms=7", "reset.every=50", "exploration=linear", *SMALL)
    settings = settings_of(*words)
    run, tracker = advanced(settings, 150)
    data = run_data(settings, run, tracker, False)
    assert set(data["random"]) == {"exploration", "replay", "noise", "resets"}
    for name, state in data["random"].items():
        assert state != Randomness([settings.seed], Purpose(name)).state(), name


@pytest.mark.parametrize("compiled", [False, True])
def test_a_checkpoint_says_whether_updates_run_as_compiled_code(
    settings_of: Compose, tmp_path: Path, compiled: bool
) -> None:
    settings = settings_of(*SMALL)
    run, tracker = advanced(settings, 30)
    data = through_a_file(tmp_path, run_data(settings, run, tracker, compiled))
    assert data["compiled"] is compiled
    CheckpointFolder(tmp_path, 0).save_last(settings, run, tracker, compiled)
    assert load_checkpoint(tmp_path / "checkpoints" / "last")["compiled"] is compiled


def test_a_restored_learner_learns_in_the_memory_that_its_update_was_made_for(
    settings_of: Compose,
) -> None:
    settings = settings_for(settings_of, *RUNS["per"])
    half, tracker = advanced(settings, 100)
    _, run = build_run(settings)
    run.envs.close()
    fixed = (*run.learner.state, *run.sampler.sources.stored)
    places = [tensor(each).data_ptr() for each in fixed]
    restore(run_data(settings, half, tracker, False), run, Tracker(1))
    again = (*run.learner.state, *run.sampler.sources.stored)
    assert [tensor(each).data_ptr() for each in again] == places
    assert all(map(torch.equal, run.learner.state, half.learner.state))


def test_what_a_policy_needs_is_no_more_than_its_parameters(settings_of: Compose) -> None:
    settings = settings_of("agent=rainbow", *SMALL)
    run, _ = advanced(settings, 30)
    data = policy_data(settings, run)
    assert set(data) == {"settings", "spaces", "clock", "parameters", "versions"}
    assert data["settings"]["head"]["type"] == "C51"


def test_the_promised_size_counts_priorities(settings_of: Compose) -> None:
    words = ("network.widths=[8]", "replay.capacity=3200")
    plain, prioritised = settings_of(*words), settings_of(*words, "replay=prioritised")
    sizes = []
    for settings in (plain, prioritised):
        _, run = build_run(settings)
        run.envs.close()
        sizes.append(expected_bytes(settings, run))
    # 100 blocks of 32 priorities in float64, and a sum for each block.
    assert sizes[1] - sizes[0] == (3200 + 100) * 8
    _, run = build_run(prioritised)
    run.envs.close()
    without = settings_of(*words, "replay=prioritised", "checkpoint.replay=false")
    assert expected_bytes(without, run) == sizes[0] - run.stream.nbytes


def test_parameters_that_are_not_finite_are_never_saved(
    settings_of: Compose, tmp_path: Path
) -> None:
    settings = settings_of("agent=per", *SMALL)
    run, tracker = advanced(settings, 30)
    folder = CheckpointFolder(tmp_path, 0)
    folder.save_last(settings, run, tracker, False)
    run.learner.state.parameters[0, 3] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        folder.save_last(settings, run, tracker, False)
    with pytest.raises(CheckpointError, match="not finite"):
        folder.save_best(settings, run)
    kept = load_checkpoint(tmp_path / "checkpoints" / "last")
    assert torch.isfinite(kept["parameters"]).all()
