from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from logged_data import random_log

from dqn_cli.agent.clock import Clock
from dqn_cli.compiling.compiled_learner import CompiledLearner
from dqn_cli.compiling.compiler import AheadOfTime, Compiler
from dqn_cli.compiling.recording import Recording
from dqn_cli.training.build_run import LearnerFactory, build_run
from dqn_cli.training.learner import Learner
from dqn_cli.training.loop import Run, StepReport, train
from dqn_cli.training.pretraining import pretrain
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
SMALL = (
    "steps=24", "learning_starts=8", "train_every=4", "updates_per_train=2", "data.pretrain=6",
    "network.widths=[8]", "replay.capacity=64", "replay.batch_size=8", "target=hard",
    "target.every=4",
)  # fmt: skip
PER = ("replay=prioritised", "replay.n_step=3")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return random_log(tmp_path_factory.mktemp("logs") / "random.npz")


def learned(
    settings: Sequence[Settings], make_learner: LearnerFactory = Learner
) -> tuple[Run, list[StepReport]]:
    """Pretrains and trains to the end; returns the run and its reports."""
    _, run = build_run(settings, make_learner=make_learner)
    reports = [*pretrain(settings, run), *train(settings, run)]
    run.envs.close()
    return run, reports


def test_updates_come_before_the_first_step_and_are_reported(
    settings_of: Compose, log: Path
) -> None:
    run, reports = learned([settings_of(*SMALL, f"data.path={log}")])
    assert [report.step is None for report in reports] == [True] * 6 + [False] * 24
    assert [report.now[0].updates for report in reports[:6]] == [1, 2, 3, 4, 5, 6]
    assert reports[5].now == [Clock(0, 6, 0)]
    assert run.clocks[0].updates == 6 + 4 * 2
    assert run.learning_began[0].updates == 6  # schedules begin after the data


def test_batches_are_of_data_alone_before_the_first_step_and_share_afterwards(
    settings_of: Compose, log: Path
) -> None:
    _, run = build_run([settings_of(*SMALL, f"data.path={log}", "data.share=0.25")])
    used = []
    run.learner.use = lambda sampler: used.append(sampler)  # type: ignore[method-assign]
    settings = [settings_of(*SMALL, f"data.path={log}", "data.share=0.25")]
    assert run.data_sampler is not None
    for sampler, logged in ((run.data_sampler, 8), (run.sampler, 2)):
        for _ in range(10):
            step = run.envs.step(np.zeros((1, 1), int))
            run.stream.append(np.zeros((1, 1), int), step)
        draw = sampler.draw(run.random.replay.uniform, [0.0])
        batch = sampler.batch(sampler.storage, sampler.sample(sampler.storage, draw))
        assert batch.logged.sum() == logged
    run.envs.close()
    assert list(pretrain(settings, run))
    assert used == [run.data_sampler, run.sampler]


def test_a_target_network_that_counts_steps_counts_those_that_updates_would_take(
    settings_of: Compose, log: Path
) -> None:
    # Two updates follow four steps, so that a copy every four steps comes after each two updates.
    settings = [settings_of(*SMALL, f"data.path={log}")]
    _, run = build_run(settings)
    equal = []
    for _ in pretrain(settings, run):
        state = run.learner.state
        equal.append(torch.equal(state.parameters, state.target))
    run.envs.close()
    assert equal == [False, True] * 3


def test_a_run_without_steps_ends_after_its_updates_and_its_rate_falls_over_them(
    settings_of: Compose, log: Path
) -> None:
    words = ("steps=0", "optimizer.schedule=linear")
    settings = [settings_of(*SMALL, *words, f"data.path={log}")]
    run, reports = learned(settings)
    assert run.clocks == [Clock(0, 6, 0)]
    assert [report.finished for report in reports] == [[False]] * 5 + [[True]]
    assert run.stream.appends == 0


def test_data_that_are_not_kept_are_the_first_ones_of_the_replay(
    settings_of: Compose, log: Path
) -> None:
    words = (*SMALL, f"data.path={log}", "data.keep=false", "replay.capacity=200")
    _, run = build_run([settings_of(*words, *PER)])
    assert run.stream.count[0] >= 50
    assert run.data is not None
    assert run.data.transitions == 60
    run.envs.close()
    learned([settings_of(*words, *PER)])
    run.stream.check_valid()


def parameters(run: Run) -> torch.Tensor:
    return run.learner.state.parameters


def by(compiler: Compiler, with_sampling: bool) -> LearnerFactory:
    return partial(CompiledLearner, compiler=compiler, with_sampling=with_sampling)


@pytest.mark.parametrize(
    "words", [PER, ("agent=drqn", "network.units=4", "network.length=4", "network.burn_in=2")]
)
def test_recorded_updates_have_the_same_bits(
    settings_of: Compose, log: Path, words: tuple[str, ...]
) -> None:
    typed = [settings_of(*SMALL, *words, f"data.path={log}", "data.share=0.5")]
    recording = Recording()
    run, _ = learned(typed, by(recording, with_sampling=False))
    assert not recording.refused
    assert torch.equal(parameters(run), parameters(learned(typed)[0]))


@pytest.mark.slow
def test_compiled_updates_are_the_same_up_to_rounding(settings_of: Compose, log: Path) -> None:
    typed = [settings_of(*SMALL, *PER, f"data.path={log}", "dtype=float64")]
    run, _ = learned(typed, by(AheadOfTime(), with_sampling=True))
    torch.testing.assert_close(parameters(run), parameters(learned(typed)[0]))


def test_a_member_of_a_population_learns_what_it_would_alone(
    settings_of: Compose, log: Path
) -> None:
    one = settings_of(*SMALL, *PER, f"data.path={log}", "dtype=float64")
    group = [one, replace(one, seed=1)]
    together, _ = learned(group)
    for member, settings in enumerate(group):
        alone, _ = learned([settings])
        torch.testing.assert_close(parameters(together)[member], parameters(alone)[0])


def test_running_normalization_begins_with_the_data(settings_of: Compose, log: Path) -> None:
    settings = [settings_of(*SMALL, f"data.path={log}", "env.normalize=running")]
    _, run = build_run(settings)
    run.envs.close()
    assert run.normalizer is not None
    with np.load(log) as file:
        mean = file["observations"].mean(0)
    assert run.normalizer.statistics[0, 0] == 60
    assert np.allclose(run.normalizer.statistics[0, 1:5], mean, atol=1e-6)
