from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from dqn_cli.commands.hydra_app import run_hydra
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]


@pytest.mark.usefixtures("in_folder")
def test_the_job_gets_the_composed_configuration_once_for_each_of_a_sweep(
    settings_of: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_of()  # registers what Hydra composes
    monkeypatch.setattr(sys, "argv", ["dqn-train"])
    configs: list[Any] = []
    words = ["gamma=0.5", "hydra.run.dir=run"]
    assert run_hydra(words, lambda config: configs.append(config.gamma)) == 0
    words = ["gamma=0.1,0.2", "-m", "hydra.sweep.dir=sweep"]
    assert run_hydra(words, lambda config: configs.append(config.gamma)) == 0
    assert configs == [0.5, 0.1, 0.2]
