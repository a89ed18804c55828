from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from conftest import PRESETS
from side_by_side import changed, check_arrays, without_twice
from torch.testing import assert_close

from dqn_cli.agent.agent import SampleErrors
from dqn_cli.compiling.compiled_learner import CompiledLearner
from dqn_cli.compiling.compiler import AheadOfTime, cache_folder
from dqn_cli.training.build_run import LearnerFactory, build_run
from dqn_cli.training.learner import Learner, LearnerState
from dqn_cli.training.loop import Run, act, store, train
from dqn_cli.training.population import Population
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
ANNOUNCEMENT = "compiling, once for runs like this one; it takes 10 to 45 s, more for images"
DOUBLE = torch.float64
close = partial(assert_close, rtol=1e-10, atol=1e-10)


def no_warning(line: str) -> None:
    assert line == ANNOUNCEMENT


def compiled(say: Callable[[str], None] = no_warning) -> LearnerFactory:
    """A factory of learners that compile, with a compiler of their own."""
    return partial(CompiledLearner, compiler=AheadOfTime(say))


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The user's own cache is neither read nor filled."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def cant_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: Any, **options: Any) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", fail)


PLAIN = (
    "dtype=float64", "network.widths=[8]", "replay.batch_size=8", "replay.capacity=400",
)  # fmt: skip
CASES = {
    "uniform": PLAIN,
    "prioritised": (*PLAIN, "replay=prioritised", "replay.n_step=3"),
    "rollout": ("agent=pqn", "env.num_envs=4", *PLAIN),
    "images": (
        "env=pictures:Pictures-v0", "env.preprocess.stack=2", "network=nature",
        "network.channels=[4,4,4]", "replay=prioritised", *PLAIN,
    ),
}  # fmt: skip


def collected(settings: Settings, make_learner: LearnerFactory) -> Run:
    """A run with 60 random steps in replay, before its first update."""
    _, run = build_run([settings], None, make_learner)
    for _ in range(60):
        run.action = act(settings, run, np.ones((1, 1)))
        store(run, run.envs.step(run.action))
    run.envs.close()
    run.sampler.on_rollout(lambda obs: run.learner.values(obs, run.random.noise))
    return run


def update(run: Run, size: int = 8) -> SampleErrors:
    """Errors of an update on so many samples, with half of the learning rate."""
    draw = run.sampler.draw(run.random.replay.uniform, [0.5])
    errors = run.learner.update(
        draw._replace(numbers=draw.numbers[:, :size]), run.random.noise, [0.5]
    )
    run.learner.polyak_update([0.3])
    assert errors.loss.shape == errors.td_error.shape == (1, size)
    return errors


@pytest.mark.timeout(600)
@pytest.mark.parametrize("case", CASES)
def test_compiled_updates_are_those_of_the_learner_and_other_shapes_are_not_compiled(
    settings_of: Compose, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    calls = list[int]()  # of Python, with the number of samples

    def counted(self: Population, tensors: Any, batch: Any, *inputs: Any) -> SampleErrors:
        calls.append(batch.action.shape[1])
        return compute(self, tensors, batch, *inputs)

    settings = settings_of(*without_twice(*CASES[case]))
    plain, fast = collected(settings, Learner), collected(settings, compiled())
    start = plain.learner.state.parameters.clone()
    assert torch.equal(start, fast.learner.state.parameters)
    compute = Population.update
    # The first call is traced. Others of its shape run as machine code.
    for size, traced in ((8, [8]), (8, []), (8, []), (3, [3]), (8, []), (5, [5]), (8, [])):
        expected = update(plain, size)
        with monkeypatch.context() as patch:
            patch.setattr(Population, "update", counted)
            errors = update(fast, size)
        assert calls == traced
        calls.clear()
        for ours, theirs in zip(errors, expected, strict=True):
            close(ours, theirs)
    assert len(list(cache_folder().glob("*.pt2"))) >= 1
    for ours, theirs in zip(fast.learner.state, plain.learner.state, strict=True):
        close(ours, theirs)
    close(fast.learner.metrics, plain.learner.metrics)
    priorities = [run.sampler.contents(0) for run in (fast, plain)]
    check_arrays(*priorities, rounded=("leaves", "largest"))
    assert ((fast.learner.state.parameters - start).abs() > 1e-6).double().mean() > 0.5
