from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from array_spaces import array_spaces

from dqn_cli.agent.batch import Batch
from dqn_cli.compiling.compiled_learner import CompiledLearner
from dqn_cli.replay.samplers import ReplayStorage
from dqn_cli.training.build_run import agent_for, build_run
from dqn_cli.training.learner import Learner, UpdateInputs
from dqn_cli.training.loop import Run, train
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


PICTURES = ("env=pictures:Pictures-v0", "network.widths=[8]", "replay.batch_size=20")


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
