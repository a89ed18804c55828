from __future__ import annotations

from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
import torch

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.agent.clock import Unit
from dqn_cli.agent.exploration import Boltzmann, Exploration, Linear, Noisy, Piecewise
from dqn_cli.replay.prioritised import Prioritised, PrioritisedSampler, Priority
from dqn_cli.replay.rollouts import RolloutSampler
from dqn_cli.replay.samplers import ReplayDevice, Sampler, UniformSampler
from dqn_cli.training.build_replay import merge_parts
from dqn_cli.training.build_run import build_run
from dqn_cli.training.loop import Run, act, store, train
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
ONE = "replay.n_step=1"
PICTURES = ("env=pictures:Pictures-v0", "network.widths=[8]", "replay.batch_size=20")


def built(settings: Settings) -> Run:
    _, run = build_run([settings])
    run.envs.close()
    return run


def batch_of(settings: Settings) -> Batch | Sequences:
    """Return a batch after 60 random steps."""
    _, run = build_run([settings])
    for _ in range(60):
        run.action = act(settings, run, np.ones((1, 1)))
        store(run, run.envs.step(run.action))
    run.envs.close()
    draw, storage = run.sampler.draw(run.random.replay.uniform, [0.0]), run.sampler.storage
    return run.sampler.batch(storage, run.sampler.sample(storage, draw))


@pytest.mark.parametrize(
    ("agent", "sampler"),
    [("dqn", UniformSampler), ("rainbow", PrioritisedSampler), ("pqn", RolloutSampler)],
)
def test_the_sampler_is_that_of_the_replay_and_samples_from_the_stream(
    settings_of: Compose, agent: str, sampler: type[Sampler]
) -> None:
    settings = settings_of(f"agent={agent}", "network.widths=[8]")
    run = built(settings)
    assert type(run.sampler) is sampler
    assert run.sampler.replay is settings.replay
    assert run.sampler.stream is run.stream


@pytest.mark.parametrize(
    ("words", "window", "state"),
    [
        ((ONE,), 1, 0),
        (("replay.n_step=5",), 5, 0),
        # n + burn_in + length - 1: n slots follow the last slot that is learned from
        (("agent=drqn", "network.burn_in=4", "network.length=6", "network.units=7", ONE), 10, 7),
        (("network=lstm", "network.burn_in=0", "network.length=1", "network.units=7", ONE), 1, 14),
        (("network=gru", "network.burn_in=4", "network.length=6", "replay.n_step=3"), 12, 128),
    ],
)
def test_the_stream_keeps_the_window_and_the_state_that_the_network_needs(
    settings_of: Compose, words: tuple[str, ...], window: int, state: int
) -> None:
    run = built(settings_of(*words, "network.widths=[8]", "env.num_envs=2"))
    assert run.stream.window == window
    assert run.stream.state.shape[2] == state
    assert run.state.shape == (1, 2, state)


def test_batches_are_of_transitions(settings_of: Compose) -> None:
    batch = batch_of(settings_of("network.widths=[8]", "replay.batch_size=20", "replay.n_step=3"))
    assert isinstance(batch, Batch)
    assert batch.action.shape == (1, 20)
    assert batch.obs.shape == (1, 20, 4)


@pytest.mark.parametrize(
    ("words", "kept", "seen"),
    [
        ((), (36, 36), (36, 36)),
        (("env.preprocess.stack=3",), (36, 36), (3, 36, 36)),
        (
            ("env.preprocess.stack=3", "+env.kwargs.colors=true", "network=nature"),
            (36, 36, 3),
            (3, 36, 36, 3),
        ),
        (("+env.kwargs.colors=true", "network=nature"), (36, 36, 3), (36, 36, 3)),
    ],
)
def test_pictures_are_kept_once_as_bytes_and_batches_stack_them(
    settings_of: Compose, words: tuple[str, ...], kept: tuple[int, ...], seen: tuple[int, ...]
) -> None:
    settings = settings_of(*PICTURES, *words)
    run = built(settings)
    assert run.stream.frames == settings.env.preprocess.frames
    assert run.stream.obs.shape[2:] == kept
    assert run.stream.obs.dtype == np.uint8
    batch = batch_of(settings)
    assert isinstance(batch, Batch)
    for obs in (batch.obs, batch.next_obs):
        assert obs.shape == (1, 20, *seen)
        assert obs.dtype == torch.uint8
        assert obs.max() >= 200


@pytest.mark.parametrize("envs", [1, 3])
@pytest.mark.parametrize("words", [("env.preprocess.stack=4",), ("replay.n_step=3",)])
def test_a_buffer_larger_than_memory_is_refused_with_the_capacity_that_fits(
    settings_of: Compose, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], envs: int
) -> None:
    free = 3_000_000
    monkeypatch.setattr("dqn_cli.memory.free_bytes", lambda device: free)
    words = (*PICTURES, *words, f"env.num_envs={envs}")
    with pytest.raises(ValueError, match=r"replay\.capacity=1000000000 needs") as refused:
        build_run([settings_of(*words, "replay.capacity=1e9")])
    named = int(str(refused.value).split("replay.capacity=")[2].split()[0])
    run = built(settings_of(*words, f"replay.capacity={int(0.98 * named)}"))
    assert 0.9 * free < run.stream.nbytes <= 0.95 * free


@pytest.mark.parametrize("clip", ["true", "false"])
def test_rewards_are_clipped_only_for_learning(settings_of: Compose, clip: str) -> None:
    settings = settings_of(*PICTURES, f"env.preprocess.clip_rewards={clip}")
    largest = batch_of(settings).reward.max()
    assert largest == 1 if clip == "true" else largest > 1
    _, run = build_run([settings])
    paid = [report.step.reward.max() for report in islice(train([settings], run), 60)]
    run.envs.close()
    assert max(paid) > 1
    assert run.stream.reward.max() == pytest.approx(max(paid))


@pytest.mark.parametrize("replay", ["uniform", "prioritised"])
@pytest.mark.parametrize(("size", "sequences"), [(20, 4), (24, 4), (25, 5), (5, 1), (4, 1)])
def test_a_batch_size_counts_transitions_also_for_sequences(
    settings_of: Compose, replay: str, size: int, sequences: int
) -> None:
    settings = settings_of(
        "agent=drqn", f"replay={replay}", f"replay.batch_size={size}", "replay.n_step=3",
        "network.widths=[8]", "network.units=6", "network.burn_in=2", "network.length=5",
    )  # fmt: skip
    batch = batch_of(settings)
    assert isinstance(batch, Sequences)
    assert batch.action.shape == (1, sequences, 5)
    assert batch.obs.shape == (1, sequences, 2 + 5 + 3, 4)
    assert batch.state.shape == (1, sequences, 6)
    assert settings.replay.batch_size == size


def test_parts_that_agree_are_merged_into_one_of_them() -> None:
    parts = [Boltzmann(0.5), Boltzmann(0.5)]
    assert merge_parts(parts) is parts[0]
    assert merge_parts(parts[:1]) is parts[0]
    assert merge_parts([Noisy()] * 3) == Noisy()


def test_numbers_that_differ_become_a_column_and_the_others_stay() -> None:
    first = Prioritised(100, 32, 3, ReplayDevice.cpu, 0.6, 0.4, 1.0, Priority.loss, 1e-6)
    second = Prioritised(100, 32, 3, ReplayDevice.cpu, 0.5, 0.4, 0.9, Priority.loss, 1e-6)
    merged = merge_parts([first, second, first])
    assert (merged.alpha.tolist(), merged.beta_end.tolist()) == (  # type: ignore[attr-defined]
        [[0.6], [0.5], [0.6]],
        [[1.0], [0.9], [1.0]],
    )
    kept = ("capacity", "batch_size", "n_step", "beta", "priority", "eps")
    assert all(getattr(merged, name) is getattr(first, name) for name in kept)
    assert (first.alpha, second.alpha) == (0.6, 0.5)


@pytest.mark.parametrize(
    "parts",
    [
        [Linear(Unit.steps, 1.0, 0.1, 0.5), Linear(Unit.episodes, 1.0, 0.2, 30.0)],
        [Piecewise(Unit.steps, [[0, 1.0], [9, 0.1]]), Piecewise(Unit.steps, [[0, 1.0], [9, 0.2]])],
        [Piecewise(Unit.steps, [[0, 1.0], [9, 0.1]]), Piecewise(Unit.updates, [[0, 0.5]])],
    ],
    ids=["linear", "piecewise", "piecewise of other lengths"],
)
def test_schedules_that_differ_in_anything_are_merged_into_one_that_prefers_the_same(
    parts: list[Exploration],
) -> None:
    q = np.array([[[1.0, -np.inf, 2.0]], [[1.0, 3.0, 2.0]]])
    assert merge_parts(parts).preferred(q, np.zeros((2, 1)), q).tolist() == [[2], [1]]


def test_temperatures_that_differ_are_each_members_own() -> None:
    # exp(1 / 0.5) / (1 + exp(1 / 0.5)) = 0.881 and exp(1 / 2) / (1 + exp(1 / 2)) = 0.622
    q = np.array([[[0.0, 1.0]] * 4] * 2)
    uniform = np.array([[0.11, 0.13, 0.37, 0.39]] * 2)
    preferred = merge_parts([Boltzmann(0.5), Boltzmann(2.0)]).preferred(q, uniform, q)
    assert preferred.tolist() == [[0, 1, 1, 1], [0, 0, 0, 1]]
