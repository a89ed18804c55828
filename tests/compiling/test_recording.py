from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from conftest import STREAMING
from torch import Tensor
from torch.nn import functional as F

from dqn_cli.compiling.compiled_learner import CompiledLearner
from dqn_cli.compiling.recording import Recording
from dqn_cli.training.build_run import LearnerFactory, build_run
from dqn_cli.training.learner import Learner
from dqn_cli.training.loop import train
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]


class Pair(NamedTuple):
    left: Any
    right: Any


class Counted:
    """Adds a pair to a total and returns their product; counts how often Python runs it."""

    __name__ = "counted"
    calls = 0

    def __call__(self, total: Tensor, pair: Pair, scale: Any) -> tuple[Tensor, Tensor]:
        self.calls += 1
        pair = Pair(torch.as_tensor(pair.left), torch.as_tensor(pair.right))
        total.add_(pair.left + pair.right)
        return pair.left * pair.right, total * torch.as_tensor(scale)


def test_a_function_runs_twice_as_python_and_then_as_a_program() -> None:
    total, counted, recording = torch.zeros(2), Counted(), Recording()
    function = recording(counted, (total,))
    expected = torch.zeros(2)
    for nth in range(5):
        pair = Pair(torch.tensor([1.0, nth]), np.array([2, 3], np.float32))
        product, scaled = function(pair, np.float32([nth]))
        expected += torch.tensor([3.0, nth + 3])
        assert product.tolist() == [2, 3 * nth]
        assert torch.equal(total, expected)
        assert torch.equal(scaled, expected * nth)
    assert counted.calls == 2
    assert recording.refused == []


def test_other_shapes_or_types_run_as_python() -> None:
    counted = Counted()
    function = Recording()(counted, (torch.zeros(2),))
    pair = Pair(torch.ones(2), torch.ones(2))
    for _ in range(3):
        function(pair, np.float32([1]))
    function(Pair(torch.ones(1), torch.ones(2)), np.float32([1]))
    assert counted.calls == 3
    function(Pair(torch.ones(2, dtype=torch.int64), torch.ones(2)), np.float32([1]))
    assert counted.calls == 4
    assert function(pair, np.float32([1]))[0].tolist() == [1, 1]
    assert counted.calls == 4


def test_arguments_stay_as_they_are() -> None:
    def doubled(x: Tensor) -> tuple[Tensor]:
        return (x.mul_(2),)

    function = Recording()(doubled, ())
    for value in range(4):
        given = torch.tensor([float(value)])
        assert function(given)[0].tolist() == [2 * value]
        assert given.tolist() == [value]


@pytest.mark.parametrize("kind", ["values", "arrays", "state"])
def test_a_function_that_cannot_be_repeated_is_refused_and_runs_as_it_is(kind: str) -> None:
    state = [0.0]

    def function(total: Tensor, x: Tensor) -> tuple[Tensor]:
        total.add_(x)
        if kind == "values":
            return (x * x.sum().item(),)
        if kind == "arrays":
            return (torch.from_numpy(x.numpy() * 2),)
        state[0] += 1
        return (x * state[0],)

    total, recording = torch.zeros(2), Recording()
    recorded = recording(function, (total,))
    results = [recorded(torch.tensor([1.0, nth]))[0].tolist() for nth in range(4)]
    expected = {
        "values": [[1 + nth, nth * (1 + nth)] for nth in range(4)],
        "arrays": [[2, 2 * nth] for nth in range(4)],
        "state": [[1 + nth, nth * (1 + nth)] for nth in range(4)],
    }
    assert results == expected[kind]
    assert total.tolist() == [4, 6]
    assert recording.refused == ["function"]


@pytest.mark.parametrize("kind", ["numbers", "dropout", "running statistics"])
def test_random_numbers_and_running_statistics_go_on_as_without_a_recording(kind: str) -> None:
    def function(statistics: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        if kind == "numbers":
            return x + torch.rand(2), statistics
        if kind == "dropout":
            return F.dropout(x, 0.5), statistics
        batch = torch.stack([x, x.square() + 1])  # [batch, 2]
        return F.batch_norm(batch, *statistics, training=True), statistics

    results: list[list[Tensor]] = []
    for is_recorded in (False, True):
        statistics, recording = torch.ones(2, 2), Recording()
        recorded = recording(function, (statistics,))
        called = recorded if is_recorded else partial(function, statistics)
        torch.manual_seed(0)
        calls = [called(torch.tensor([1.0, nth])) for nth in range(5)]
        results.append([*(call[0] for call in calls), statistics])
        assert recording.refused == []
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_a_random_generator_of_its_own_is_refused() -> None:
    generator, recording = torch.Generator().manual_seed(0), Recording()
    recorded = recording(lambda x: (x + torch.rand(2, generator=generator),), ())
    results = torch.stack([recorded(torch.zeros(2))[0] for _ in range(4)])
    generator.manual_seed(0)
    assert torch.equal(results, torch.stack([torch.rand(2, generator=generator) for _ in range(4)]))
    assert recording.refused == ["<lambda>"]


def test_a_function_that_fails_fails_as_it_would() -> None:
    def function(x: Tensor) -> tuple[Tensor]:
        raise ValueError("no such thing")

    recorded = Recording()(function, ())
    for _ in range(3):
        with pytest.raises(ValueError, match="no such thing"):
            recorded(torch.ones(1))


SMALL = (
    "network.widths=[16]", "learning_starts=40", "train_every=1", "updates_per_train=1",
    "replay.batch_size=8", "steps=120", "optimizer.schedule=linear",
)  # fmt: skip
RUNS = {
    "dqn": (),
    "rainbow": ("agent=rainbow",),
    "iqn": ("agent=munchausen_iqn",),
    "drqn": ("agent=drqn", "network.length=4"),
    "pqn": ("agent=pqn", "train_every=32", "env.num_envs=4", "steps=600"),
    "spectral": ("network.spectral_norm=true", "optimizer=radam", "env.normalize=running"),
    "resets": ("reset.every=30", "target=soft"),
    "bootstrapped": ("agent=bootstrapped",),
    "mixture": ("agent=rem", "head.heads=4"),
    "stream_q": ("agent=stream_q", "env.normalize=running", *STREAMING),
    "adaptive_q": ("agent=adaptive_q", *STREAMING),
    "images": ("env=pictures:Pictures-v0", "network.channels=[2]", "train_every=4"),
}


def learned(settings: list[Settings], make_learner: LearnerFactory) -> list[Tensor]:
    _, run = build_run(settings, make_learner=make_learner)
    updates = sum(report.updates for report in train(settings, run))
    run.envs.close()
    assert updates > 10
    return [*run.learner.state, run.learner.metrics]


@pytest.mark.parametrize("words", RUNS.values(), ids=RUNS)
@pytest.mark.parametrize("members", [1, 2])
def test_a_recorded_run_learns_the_same_bits(
    settings_of: Compose, words: tuple[str, ...], members: int
) -> None:
    settings = [settings_of(*SMALL, *words, f"seed={seed}") for seed in range(members)]
    recording = Recording()
    recorded = partial(CompiledLearner, compiler=recording, with_sampling=False)
    for one, other in zip(learned(settings, Learner), learned(settings, recorded), strict=True):
        assert torch.equal(one.nan_to_num(), other.nan_to_num())
    assert recording.refused == []


def test_recording_imports_no_compiler() -> None:
    code = """
import sys, torch
from dqn_cli.compiling.recording import Recording
function = Recording()(lambda x: (x * 2,), ())
for _ in range(3): function(torch.ones(2))
assert not {"torch._dynamo", "torch._inductor"} & set(sys.modules), "took a second"
"""
    subprocess.run([sys.executable, "-c", code], check=True)
