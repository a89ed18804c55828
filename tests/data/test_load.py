from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from logged_data import random_log

from dqn_cli.data.load import load_data
from dqn_cli.data.transitions import Task
from dqn_cli.envs.environments import read_spaces
from dqn_cli.storage import sha256
from dqn_cli.training.settings import Settings


def test_data_come_with_a_summary(settings_of: Callable[..., Settings], tmp_path: Path) -> None:
    env, log = settings_of().env, random_log(tmp_path / "log.npz")
    data, summary = load_data(str(log), Task(env, read_spaces(env), False, "float32"))
    assert summary.plain() == {
        "path": str(log),
        "sha256": sha256(log),
        "transitions": 60,
        "episodes": data.episodes,
        "mean_return": 60 / data.episodes,
    }
