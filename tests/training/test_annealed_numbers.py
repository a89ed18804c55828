from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from interpreted import Interpreted

from dqn_cli.agent.clock import Clock
from dqn_cli.compiling.compiled_learner import CompiledLearner
from dqn_cli.compiling.recording import Recording
from dqn_cli.replay.mixed import MixedSampler
from dqn_cli.training.annealed_numbers import current_gamma, current_n_step, lr_factor
from dqn_cli.training.build_run import build_run
from dqn_cli.training.learner import Learner
from dqn_cli.training.loop import Run, train
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
SMALL = (
    "steps=80", "learning_starts=20", "train_every=2", "updates_per_train=1",
    "network.widths=[6,5]", "replay.batch_size=8", "replay.capacity=60", "dtype=float64",
)  # fmt: skip
ANNEALED = (
    "gamma=0.9", "anneal.gamma.start=0.5", "anneal.gamma.duration=20",
    "replay.n_step=1", "anneal.n_step.start=4", "anneal.n_step.duration=20",
    "anneal.lr.start=1e-2", "anneal.lr.duration=0.5", "optimizer.lr=1e-3",
)  # fmt: skip


@pytest.mark.parametrize(
    ("steps", "passed"),
    # Learning begins at step 20. The reset of step 40 comes after the updates of that step.
    [(20, 0), (24, 4), (40, 20), (42, 2), (60, 20), (80, 40), (81, 1), (82, 2)],
)
def test_time_begins_with_learning_and_after_each_reset(
    settings_of: Compose, steps: int, passed: int
) -> None:
    settings = settings_of("reset.every=40", "gamma=0.5", "anneal.gamma.start=0.9",
                           "anneal.gamma.shape=linear", "anneal.gamma.duration=100")  # fmt: skip
    gamma = current_gamma(settings, Clock(steps), Clock(20))
    assert gamma == pytest.approx(0.9 - 0.004 * passed)


def test_a_reset_that_several_environments_step_over_is_counted_from_its_multiple(
    settings_of: Compose,
) -> None:
    settings = settings_of("reset.every=20", "env.num_envs=8", "replay.n_step=1",
                           "anneal.n_step.start=41", "anneal.n_step.duration=40",
                           "anneal.n_step.shape=linear")  # fmt: skip
    found = [current_n_step(settings, Clock(steps), Clock()) for steps in (16, 24, 32, 40, 48)]
    assert found == [25, 17, 29, 21, 33]


def test_the_factor_of_the_rate_is_that_of_its_schedule_times_its_own(settings_of: Compose) -> None:
    words = ("steps=100", "optimizer.lr=0.001", "optimizer.schedule=linear")
    now, began = Clock(50), Clock(0)
    assert lr_factor(settings_of(*words), now, began, 0.25) == 0.75
    annealed = settings_of(*words, "anneal.lr.start=0.004", "anneal.lr.duration=100")
    assert lr_factor(annealed, now, began, 0.25) == pytest.approx(0.75 * 2)


def test_a_run_of_data_alone_counts_updates(settings_of: Compose) -> None:
    settings = settings_of("steps=0", "data.path=somewhere", "data.pretrain=10", "gamma=0.5",
                           "anneal.gamma.start=0.9", "anneal.gamma.shape=linear")  # fmt: skip
    assert current_gamma(settings, Clock(0, 5), Clock()) == pytest.approx(0.7)


def batches(settings: Settings) -> tuple[Run, list[tuple[float, int]]]:
    """Trains, and notes gamma and n of each batch by what the storage says."""
    _, run = build_run([settings])
    seen = []
    for report in train([settings], run):
        if report.updates:
            storage = run.sampler.storage
            assert storage.n_step is not None
            seen.append((float(storage.gamma[0]), int(storage.n_step[0])))
    run.envs.close()
    return run, seen


def test_a_run_reads_its_windows_with_the_numbers_of_the_time(settings_of: Compose) -> None:
    settings = settings_of(*SMALL, *ANNEALED, "reset.every=50")
    run, seen = batches(settings)
    gammas, steps = zip(*seen, strict=True)
    assert run.stream.window == 4
    # Updates are at steps 22, 24, ... 80. All is reached 20 steps after step 20 and step 50.
    expected = [
        1 - 0.5 * 0.2 ** min((s - (20 if s <= 50 else 50)) / 20, 1) for s in range(22, 81, 2)
    ]
    assert gammas == pytest.approx(expected)
    assert set(steps) == {1, 2, 3}
    assert (gammas[9], steps[9]) == (0.9, 1)  # exactly, at step 40
    assert steps[15] == round(4 * 0.25 ** (2 / 20))  # at step 52


@pytest.mark.parametrize("replay", ["uniform", "prioritised"])
def test_members_anneal_as_each_alone(settings_of: Compose, replay: str) -> None:
    words = (*SMALL, *ANNEALED, "reset.every=50", f"replay={replay}")
    members = [settings_of(*words, "gamma=0.9"), settings_of(*words, "gamma=0.7", "seed=1")]

    def parameters(*settings: Settings) -> torch.Tensor:
        _, run = build_run(settings)
        list(train(settings, run))
        run.envs.close()
        return run.learner.state.parameters

    together = parameters(*members)
    for member, settings in zip(together, members, strict=True):
        torch.testing.assert_close(member, parameters(settings)[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("replay", ["uniform", "prioritised"])
@pytest.mark.parametrize("kind", ["recorded", "compiled"])
def test_compiled_updates_anneal_too(settings_of: Compose, replay: str, kind: str) -> None:
    settings = settings_of(*SMALL, *ANNEALED, "steps=60", f"replay={replay}")

    def parameters(make_learner: Callable[..., Learner]) -> torch.Tensor:
        _, run = build_run([settings], make_learner=make_learner)
        list(train([settings], run))
        run.envs.close()
        return run.learner.state.parameters

    compilers = {
        "recorded": partial(CompiledLearner, compiler=Recording(), with_sampling=False),
        "compiled": partial(CompiledLearner, compiler=Interpreted()),
    }
    torch.testing.assert_close(
        parameters(compilers[kind]), parameters(Learner), rtol=1e-8, atol=1e-10
    )


@pytest.mark.parametrize("shape", ["linear", "exponential"])
def test_the_number_of_updates_changes_too(settings_of: Compose, shape: str) -> None:
    settings = settings_of(
        *SMALL, "anneal.updates_per_train.start=8", "anneal.updates_per_train.duration=20",
        f"anneal.updates_per_train.shape={shape}", "updates_per_train=2", "reset.every=50",
    )  # fmt: skip
    _, run = build_run([settings])
    seen = [report.updates for report in train([settings], run) if report.updates]
    run.envs.close()
    # Updates are at steps 22, 24, ... 80. There are two each, 20 steps after steps 20 and 50.
    shares = [min((s - (20 if s <= 50 else 50)) / 20, 1) for s in range(22, 81, 2)]
    linear = [round(8 - 6 * share) for share in shares]
    expected = linear if shape == "linear" else [round(8 * 0.25**share) for share in shares]
    assert seen == expected
    assert run.clocks[0].updates == sum(expected)


def test_a_run_that_changes_nothing_has_no_numbers_to_change(settings_of: Compose) -> None:
    _, run = build_run([settings_of(*SMALL)])
    run.envs.close()
    assert run.sampler.storage.n_step is None


def test_both_streams_of_mixed_batches_have_the_same_numbers(settings_of: Compose) -> None:
    words = (*SMALL, *ANNEALED)
    own, logged = (build_run([settings_of(*words)])[1].sampler for _ in range(2))
    mixed = MixedSampler(own, logged, 3)
    mixed.anneal([0.25], [2])
    storage = mixed.storage
    assert storage.logged is not None
    for each in (storage, storage.logged):
        assert each.gamma.tolist() == [0.25]
        assert each.n_step is not None
        assert each.n_step.tolist() == [2]


def test_gamma_of_lambda_returns_is_that_of_the_round(settings_of: Compose) -> None:
    settings = settings_of(
        "agent=pqn", "tuned=none", "steps=64", "env.num_envs=2", "train_every=16",
        "updates_per_train=1", "replay.batch_size=16", "replay.capacity=64", "network.widths=[4]",
        "gamma=0.5", "anneal.gamma.start=0.1", "anneal.gamma.shape=linear",
        "anneal.gamma.duration=64",
    )  # fmt: skip
    _, run = build_run([settings])
    seen = [float(run.sampler.gamma[0]) for report in train([settings], run) if report.updates]
    run.envs.close()
    np.testing.assert_allclose(seen, [0.2, 0.3, 0.4, 0.5])
