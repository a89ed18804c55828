from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from dqn_cli.agent.clock import Clock
from dqn_cli.commands.resume import with_schedule_of
from dqn_cli.training.loop import horizon
from dqn_cli.training.settings import Settings

Typed = Callable[..., int]


def test_a_longer_run_keeps_the_schedule_it_had(settings_of: Callable[..., Settings]) -> None:
    before = settings_of("steps=10000", "learning_starts=0", "exploration.duration=0.5")
    now = with_schedule_of(before, replace(before, steps=20_000))
    for steps in (0, 2500, 5000, 9000):
        elapsed = Clock(steps=steps)
        expected = before.exploration.epsilon(elapsed, horizon(before), 1)
        assert now.exploration.epsilon(elapsed, horizon(now), 1) == pytest.approx(expected)


def test_an_unchanged_run_keeps_its_settings(settings_of: Callable[..., Settings]) -> None:
    before = settings_of("steps=10000")
    assert with_schedule_of(before, before) == before


@pytest.mark.parametrize("word", ["optimizer.lr=1", "seed=3", "env=Acrobot-v1", "steps"])
def test_what_may_not_change_is_refused_by_name(
    type_train: Typed, capsys: pytest.CaptureFixture[str], word: str
) -> None:
    type_train("steps=150", "eval.episodes=1", "network.widths=[4]", "hydra.run.dir=run")
    assert type_train("resume=run", word) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert word.split("=")[0] in line
    assert "can't change" in line


def test_a_damaged_checkpoint_is_refused(
    type_train: Typed, in_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    type_train("steps=150", "eval.episodes=1", "network.widths=[4]", "hydra.run.dir=run")
    last = in_folder / "run" / "checkpoints" / "last"
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    assert type_train("resume=run", "steps=300") == 1
    assert "damaged" in capsys.readouterr().err.splitlines()[-1]
