from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dqn_cli.agent.clock import Clock
from dqn_cli.commands.continuation import check_job_number, keep_schedule, schedule_text
from dqn_cli.config.validation import ConfigError
from dqn_cli.runs.recorder import Job
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
