from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from array_spaces import array_spaces

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.agent.clock import Unit
from dqn_cli.agent.exploration import Boltzmann, Exploration, Linear, Noisy, Piecewise
from dqn_cli.compiling.compiled_learner import CompiledLearner
from dqn_cli.replay.prioritised import Prioritised, PrioritisedSampler, Priority
from dqn_cli.replay.rollouts import RolloutSampler
from dqn_cli.replay.samplers import ReplayDevice, ReplayStorage, Sampler, UniformSampler
from dqn_cli.training.build_run import agent_for, build_run, merge_parts
from dqn_cli.training.learner import Learner, UpdateInputs
from dqn_cli.training.loop import Run, act, store, train
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]


def built(settings: Settings) -> Run:
    _, run = build_run([settings])
    run.envs.close()
    return run


def test_a_run_starts_with_the_shapes_its_settings_ask_for(
    settings_of: Callable[..., Settings],
) -> None:
    words = ("env.num_envs=3", "network.widths=[8]", "replay.capacity=90", "dtype=float64")
    (agent,), run = build_run([settings_of(*words)])
    run.envs.close()
    assert run.envs.obs.shape == (1, 3, 4)
    assert run.stream.capacity == 30
    assert run.learner.state.parameters.shape == (1, 4 * 8 + 8 + 8 * 2 + 2)
    assert run.learner.state.parameters.dtype == torch.float64
    assert agent.spaces.actions == 2


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


ONE = "replay.n_step=1"


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


def batch_of(settings: Settings) -> Batch | Sequences:
    """Return a batch after 60 random steps."""
    _, run = build_run([settings])
    for _ in range(60):
        run.action = act(settings, run, np.ones((1, 1)))
        store(run, run.envs.step(run.action))
    run.envs.close()
    draw, storage = run.sampler.draw(run.random.replay.uniform, [0.0]), run.sampler.storage
    return run.sampler.batch(storage, run.sampler.sample(storage, draw))


def test_batches_are_of_transitions(settings_of: Compose) -> None:
    batch = batch_of(settings_of("network.widths=[8]", "replay.batch_size=20", "replay.n_step=3"))
    assert isinstance(batch, Batch)
    assert batch.action.shape == (1, 20)
    assert batch.obs.shape == (1, 20, 4)


PICTURES = ("env=pictures:Pictures-v0", "network.widths=[8]", "replay.batch_size=20")


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


@pytest.mark.parametrize(("network", "samples_in_graph"), [("nature", False), ("mlp", True)])
@pytest.mark.parametrize("replay", ["uniform", "prioritised"])
def test_compiled_updates_of_image_networks_take_batches_and_those_of_others_take_samples(
    settings_of: Compose, network: str, samples_in_graph: bool, replay: str
) -> None:
    calls: list[tuple[Any, Any]] = []

    def compiler(
        function: Callable[..., Any], fixed: tuple[Any, ...], *_: object
    ) -> Callable[..., Any]:
        def recorded(*changing: Any) -> Any:
            if function.__name__ != "act":
                calls.append((fixed[-1], changing[0]))
            return function(*fixed, *changing)

        return recorded

    words = (*PICTURES, "+env.kwargs.colors=true", f"network={network}", f"replay={replay}")
    settings = settings_of(*words, "learning_starts=50", "steps=70")
    agents, run = build_run([settings], make_learner=partial(CompiledLearner, compiler=compiler))
    for _ in train([settings], run):
        pass
    run.envs.close()
    last_fixed, inputs = calls[-1]
    assert isinstance(last_fixed, ReplayStorage) is samples_in_graph
    assert isinstance(inputs, UpdateInputs) is samples_in_graph
    assert isinstance(inputs, Batch) is (not samples_in_graph)
    # Learning from replay and learning from the sampled batch are the same.
    sampler, device = run.sampler, torch.device("cpu")
    from_replay, from_batch = (
        Learner(agents, [np.random.default_rng(0)], torch.float32, device, sampler_or_none)
        for sampler_or_none in (sampler, None)
    )
    draw, storage = sampler.draw(run.random.replay.uniform, [0.5]), sampler.storage
    batch = sampler.batch(storage, sampler.sample(storage, draw))
    from_replay.update(draw, run.random.noise, [1.0])
    from_batch.update_on_batch(batch, run.random.noise, [1.0])
    assert torch.equal(from_replay.state.moments, from_batch.state.moments)


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


def test_every_purpose_has_random_numbers_of_its_own(settings_of: Compose) -> None:
    run = built(settings_of("network.widths=[8]", "seed=5"))
    drawn = np.concatenate([stream.uniform(4) for stream in run.random])
    assert len(np.unique(drawn)) == drawn.size


def test_an_agent_has_the_parts_of_the_settings(settings_of: Compose) -> None:
    settings = settings_of("agent=rainbow")
    agent = agent_for(settings, array_spaces((2,), (-3, -3), (3, 3), 3))
    assert agent.head is settings.head
    assert agent.network is settings.network
    assert agent.update is settings.update
    assert agent.optimizer is settings.optimizer
    assert agent.layout["advantage.out.weight"].shape == (3 * 51, 256)


def test_the_run_calls_what_the_compiler_returns(settings_of: Compose) -> None:
    calls: list[str] = []

    def compiler(
        function: Callable[..., Any], fixed: tuple[Any, ...], *_: object
    ) -> Callable[..., Any]:
        def recorded(*changing: Any) -> Any:
            calls.append(function.__name__)
            return function(*fixed, *changing)

        return recorded

    settings = settings_of(
        "steps=30", "learning_starts=10", "train_every=5", "updates_per_train=2",
        "network.widths=[4]", "replay.batch_size=4", "exploration=constant", "exploration.start=0",
    )  # fmt: skip
    _, run = build_run([settings], make_learner=partial(CompiledLearner, compiler=compiler))
    for _ in train([settings], run):
        pass
    run.envs.close()
    # Each action is chosen one step ahead.
    assert calls == ["act", *(["act"] * 5 + ["sample_and_update"] * 2) * 4]


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
