from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from conftest import PRESETS, STREAMING
from side_by_side import changed, check_arrays, without_twice
from torch.testing import assert_close

from dqn_cli.agent.metrics import SampleErrors
from dqn_cli.compiling.call_inputs import flatten
from dqn_cli.compiling.code_cache import cache_folder
from dqn_cli.compiling.compiled_learner import CompiledLearner
from dqn_cli.compiling.compiler import AheadOfTime
from dqn_cli.training.build_run import LearnerFactory, build_run
from dqn_cli.training.learner import Learner, LearnerState
from dqn_cli.training.loop import Run, act, store, train
from dqn_cli.training.population import Population
from dqn_cli.training.randomness import Purpose, Randomness
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


def packages_in_cache() -> set[Path]:
    return set(cache_folder().glob("*.pt2"))


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
    "rollout": ("agent=pqn", "env.num_envs=4", "train_every=64", *PLAIN),
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
@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=() if case == "prioritised" else pytest.mark.slow) for case in CASES],
)
def test_compiled_updates_are_those_of_the_learner_and_other_shapes_are_not_compiled(
    settings_of: Compose, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    calls = list[int]()  # of Python, with the number of samples

    def counted(self: Population, tensors: Any, batch: Any, *inputs: Any) -> SampleErrors:
        calls.append(batch.action.shape[1])
        return compute(self, tensors, batch, *inputs)

    settings, packages = settings_of(*without_twice(*CASES[case])), packages_in_cache()
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
    assert len(packages_in_cache() - packages) == 1
    for ours, theirs in zip(fast.learner.state, plain.learner.state, strict=True):
        close(ours, theirs)
    close(fast.learner.metrics, plain.learner.metrics)
    priorities = [run.sampler.contents(0) for run in (fast, plain)]
    check_arrays(*priorities, rounded=("leaves", "largest"))
    assert ((fast.learner.state.parameters - start).abs() > 1e-6).double().mean() > 0.5


def trained(settings: Settings, make_learner: LearnerFactory, updates: int) -> Learner:
    """The learner of a run of so many updates."""
    _, run = build_run([settings], None, make_learner)
    for _ in train([settings], run):
        pass
    run.envs.close()
    assert run.clocks[0].updates == updates
    return run.learner


def learned(settings: Settings, make_learner: LearnerFactory, updates: int) -> LearnerState:
    return trained(settings, make_learner, updates).state


def difference(one: LearnerState, other: LearnerState) -> float:
    pairs = zip(one, other, strict=True)
    return torch.cat([(a - b).abs().ravel() for a, b in pairs]).max().item()


def test_a_compiled_run_learns_the_same_and_again_bit_by_bit(
    settings_of: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(
        "steps=60", "learning_starts=30", "train_every=1", "updates_per_train=1",
        "network.widths=[8]", "replay.batch_size=4",
    )  # fmt: skip
    plain, first = trained(settings, Learner, 30), trained(settings, compiled(), 30)
    assert difference(plain.state, first.state) < 1e-6
    cant_compile(monkeypatch)
    again = trained(settings, compiled(pytest.fail), 30)
    assert all(map(torch.equal, first.state, again.state))
    noise = Randomness([0], Purpose.noise)
    for envs in (1, 3):  # it was compiled for one
        obs, empty = np.random.default_rng(0).normal(size=(1, envs, 4)), np.zeros((1, envs, 0))
        expected, q = (learner.act(obs, empty, noise)[0] for learner in (plain, again))
        assert q.shape == (1, envs, 2)
        np.testing.assert_allclose(q, expected, rtol=1e-4, atol=1e-5)


UPDATES = 100
SMALL = (
    "dtype=float64", "network.widths=[12,8]", "replay.batch_size=8", "replay.capacity=400",
)  # fmt: skip
EACH_STEP = (
    "steps=180", "learning_starts=80", "train_every=1", "updates_per_train=1",
    "target=soft", "target.tau=0.05",
)  # fmt: skip
OWN = {
    "drqn": (*EACH_STEP, "network.units=6", "network.length=4", "network.burn_in=2"),
    "pqn": ("steps=640", "env.num_envs=4", "train_every=64", "updates_per_train=10"),
    "stream_q": (*EACH_STEP, *STREAMING[1:]),
    "adaptive_q": (*EACH_STEP, *STREAMING[1:]),
}


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("preset", PRESETS)
def test_compiled_updates_of_every_preset_learn_the_same(settings_of: Compose, preset: str) -> None:
    settings = settings_of(f"agent={preset}", *SMALL, *OWN.get(preset, EACH_STEP))
    plain = learned(settings, Learner, UPDATES)
    assert difference(plain, learned(settings, compiled(), UPDATES)) < 1e-9


ALL = [pytest.param(preset, marks=pytest.mark.slow) for preset in PRESETS if preset != "rainbow"]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("preset", ["rainbow", *ALL])
def test_an_update_of_the_shipped_size_can_be_compiled(
    settings_of: Compose, monkeypatch: pytest.MonkeyPatch, preset: str, members: int
) -> None:
    # Tiny products are computed by arithmetic and large ones are not, so that graphs differ.
    exported, said = list[Any](), list[str]()

    def stop(program: Any, **options: Any) -> None:
        exported.append(program)
        raise RuntimeError("far enough")

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", stop)
    settings = settings_of(f"agent={preset}", *without_twice(*OWN.get(preset, EACH_STEP)))
    several = [changed(settings, f"seed={seed}") for seed in range(members)]
    _, run = build_run(several, None, compiled(said.append))
    for report in train(several, run):
        if report.updates:
            break
    run.envs.close()
    assert exported
    assert all("far enough" in line for line in said if "warning" in line)


IMAGES = (
    "env=pictures:Pictures-v0", "env.preprocess.stack=2", "seed=2", "network.widths=[8]",
    "replay.batch_size=4", "replay.capacity=60", *EACH_STEP, "steps=50", "learning_starts=30",
)  # fmt: skip
OF_IMAGES = {
    "nature": ("network=nature", "network.channels=[4,4,4]", "dtype=float64"),
    "nature in bfloat16": ("network=nature", "network.channels=[4,4,4]", "network.bfloat16=true"),
    "impala": (
        "agent=btr", "network=impala", "network.channels=[2]", "network.pool=5", "head.atoms=3",
        "network.spectral_norm=true", "dtype=float64",
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", OF_IMAGES)
def test_compiled_updates_on_images_learn_the_same(settings_of: Compose, case: str) -> None:
    settings = settings_of(*without_twice(*IMAGES, *OF_IMAGES[case]))
    plain = learned(settings, Learner, 20)
    assert (plain.moments[0, 0] != 0).double().mean() > 0.7  # most parameters have learned
    exact = plain.parameters.dtype == DOUBLE
    fast = learned(settings, compiled(), 20)
    assert difference(plain, fast) < (1e-12 if exact else 1e-4)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_members_in_turn_are_compiled_as_one_computation(settings_of: Compose) -> None:
    settings = settings_of(*without_twice(*IMAGES, *OF_IMAGES["nature"]))
    members = [settings, changed(settings, "seed=3", "optimizer.lr=1e-2")]
    states = []
    for make_learner in (Learner, compiled()):
        _, run = build_run(members, None, make_learner)
        for _ in train(members, run):
            pass
        run.envs.close()
        states.append(run.learner.state)
    assert states[0].parameters.shape[0] == 2
    assert difference(*states) < 1e-12


class Examples(NamedTuple):
    """Arguments of functions by name: those of examples, and of first calls."""

    expected: dict[str, Any]
    given: dict[str, Any]
    called: dict[str, Any]

    def __call__(self, function: Any, fixed: Any, structure: Any, example: Any) -> Any:
        """A compiler; as soon as one function is called, it asks for the examples of all."""
        self.expected[function.__name__] = example

        def run(*changing: Any) -> Any:
            self.called.setdefault(function.__name__, kinds(changing))
            if not self.given:
                self.given.update((name, kinds(each())) for name, each in self.expected.items())
            return function(*fixed, *changing)

        return run


def kinds(arguments: tuple[Any, ...] | None) -> list[Any] | None:
    if arguments is None:
        return None
    return [(value.dtype, value.shape) for value in flatten(arguments)]


SHORT = (*EACH_STEP, "steps=60", "learning_starts=40")
EXPECTED = {
    "uniform": (*PLAIN, *SHORT, "env.num_envs=3"),
    "prioritised": ("agent=rainbow", "network.widths=[8]", "replay.capacity=400",
                    "replay.batch_size=8", *SHORT),
    "levels": ("agent=iqn", "replay.capacity=400", "replay.batch_size=8", *SHORT),
    "mixtures": ("agent=bootstrapped", "head.heads=3", "head.mixture=true",
                 "replay.capacity=400", "replay.batch_size=8", *SHORT),
    "sequences": ("agent=drqn", "network.units=5", "network.length=4", "network.burn_in=2",
                  "replay.capacity=400", "replay.batch_size=8", *SHORT),
    "images": (*CASES["images"], *SHORT),
    "moved images": (*CASES["images"], *SHORT, "augment=shift"),
    "features": (*CASES["images"], *SHORT, "auxiliary=spr"),
    "streams": ("agent=stream_q", "env.normalize=running", *STREAMING, "steps=60"),
}  # fmt: skip


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("case", EXPECTED)
def test_examples_are_like_the_arguments_of_calls_and_change_nothing(
    settings_of: Compose, case: str, members: int
) -> None:
    settings = settings_of(*without_twice(*EXPECTED[case]))
    several = [changed(settings, f"seed={seed}") for seed in range(members)]
    examples, states = Examples({}, {}, {}), []
    for make_learner in (Learner, partial(CompiledLearner, compiler=examples)):
        _, run = build_run(several, None, make_learner)
        for _ in train(several, run):
            pass
        run.envs.close()
        states.append(run.learner.state)
    assert len(examples.called) == 2
    assert {name: kind for name, kind in examples.given.items() if kind} == examples.called
    assert all(map(torch.equal, *states))


def test_a_rollout_has_no_example_of_a_batch(settings_of: Compose) -> None:
    settings = settings_of(*without_twice(*CASES["rollout"], "steps=300"))
    examples = Examples({}, {}, {})
    _, run = build_run([settings], None, partial(CompiledLearner, compiler=examples))
    for _ in train([settings], run):
        pass
    run.envs.close()
    assert examples.given.pop("batch_update") is None
    assert examples.called.pop("batch_update")
    assert examples.given == examples.called
