from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dqn_cli.agent.clock import Clock
from dqn_cli.commands.continuation import (
    Continuation,
    check_job_number,
    continue_typed,
    groups_of,
    keep_schedule,
    load_continuation,
    regroup,
    schedule_text,
)
from dqn_cli.config.validation import ConfigError
from dqn_cli.runs.job import Job
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]


def test_a_longer_run_keeps_the_schedule_it_had(settings_of: Callable[..., Settings]) -> None:
    before = settings_of("steps=10000", "learning_starts=0", "exploration.duration=0.5")
    now = keep_schedule(before, replace(before, steps=20_000))
    for steps in (0, 2500, 5000, 9000):
        elapsed = Clock(steps=steps)
        expected = before.exploration.epsilon(elapsed, before.horizon, 1)
        assert now.exploration.epsilon(elapsed, now.horizon, 1) == pytest.approx(expected)


def test_an_unchanged_run_keeps_its_settings(settings_of: Callable[..., Settings]) -> None:
    before = settings_of("steps=10000")
    assert keep_schedule(before, before) == before


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("optimizer.schedule=constant",), "it was begun"),
        (("optimizer.schedule=linear",), "; the learning rate follows the new length"),
        (("optimizer.schedule=constant", "replay=prioritised"), "; beta follows the new length"),
        (
            ("optimizer.schedule=linear", "replay=prioritised"),
            "; the learning rate and beta follow the new length",
        ),
    ],
)
def test_a_longer_run_says_what_its_schedules_do(
    settings_of: Compose, words: tuple[str, ...], what: str
) -> None:
    before = settings_of(*words)
    text = schedule_text(before, replace(before, steps=before.steps * 2))
    assert text is not None
    assert text.startswith(f"steps={before.steps * 2}: epsilon keeps the schedule")
    assert text.endswith(what)
    assert schedule_text(before, replace(before, threads=2)) is None


def test_another_run_with_the_number_of_a_job_is_refused(
    settings_of: Compose, tmp_path: Path
) -> None:
    other = tmp_path / "0_seed-1"
    (other / ".hydra").mkdir(parents=True)
    (other / ".hydra" / "overrides.yaml").write_text("- seed=1\n")
    job = Job(settings_of(), tmp_path / "0_seed-2", ["seed=2"], 0)
    check_job_number(job)  # the other one never began
    (other / ".hydra" / "plan").touch()
    with pytest.raises(ConfigError, match="job 0 of this sweep, with seed=1, not seed=2"):
        check_job_number(job)
    check_job_number(job._replace(number=1))
    check_job_number(job._replace(folder=other))


SMALL = (
    "steps=120", "learning_starts=20", "train_every=4", "updates_per_train=1", "eval.every=20",
    "eval.episodes=1", "network.widths=[4]", "replay.batch_size=8", "compile=false",
)  # fmt: skip


@pytest.fixture
def paused(type_train: Callable[..., int]) -> Callable[..., Path]:
    """Trains a run up to a pause and gives its folder."""

    def train(step: int, *words: str) -> Path:
        name = "_".join(words).replace("=", "")
        folder = Path(f"run_{step}_{name}")
        pause = (f"stop.step={step}", f"hydra.run.dir={folder}")
        assert type_train(*SMALL, *words, *pause) == 0
        return folder

    return train


def test_a_paused_run_that_is_typed_again_goes_on_to_its_next_pause(
    settings_of: Compose, paused: Callable[..., Path]
) -> None:
    folder = paused(40, "seed=3")

    def typed(*words: str) -> Continuation:
        job = Job(settings_of(*SMALL, "seed=3", *words), folder, ["seed=3", *words], 0)
        run = continue_typed(job, (), ())
        assert run is not None
        return run

    same, beyond, end = typed("stop.step=40"), typed("stop.step=80"), typed()
    assert [run.is_finished for run in (same, beyond, end)] == [True, False, False]
    assert [run.goes_beyond_pause for run in (same, beyond, end)] == [False, True, True]
    assert [run.job.settings.stop.step for run in (same, beyond, end)] == [40, 80, None]
    pauses = [[word for word in run.job.overrides if "stop" in word] for run in (beyond, end)]
    assert pauses == [["stop.step=80"], []]
    assert "seed=3" in end.job.overrides
    assert end.job.resumes
    with pytest.raises(ConfigError, match="seed=3, not 4"):
        typed("seed=4")


def test_runs_that_go_beyond_a_pause_fill_new_groups_of_the_same_step(
    paused: Callable[..., Path],
) -> None:
    folders = [paused(40, f"seed={seed}") for seed in range(3)]
    folders += [paused(60), paused(60, "gamma=0.5")]
    runs = [load_continuation(folder, ["stop.step=100"], ()) for folder in folders]
    assert len(groups_of(runs)) == 5  # each was trained alone
    groups = regroup(runs, 1, 2)
    assert [[job.folder for job in group] for group in groups] == [
        folders[:1], folders[1:3], folders[3:],
    ]  # fmt: skip
