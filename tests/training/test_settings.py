from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from dqn_cli.agent.clock import Clock
from dqn_cli.training.settings import Settings, plain

Compose = Callable[..., Settings]
WORDS = ("steps=1100", "learning_starts=100", "train_every=4", "updates_per_train=2")


def test_the_horizon_says_how_far_a_run_goes_in_each_unit(settings_of: Compose) -> None:
    assert settings_of(*WORDS).horizon == Clock(steps=1100, updates=500, episodes=0)
    assert settings_of(*WORDS, "episodes=7").horizon.episodes == 7
    assert settings_of(*WORDS, "learning_starts=2000").horizon.updates == 0


def test_a_changed_run_has_a_horizon_of_its_own(settings_of: Compose) -> None:
    settings = settings_of(*WORDS)
    before = settings.horizon
    assert replace(settings, steps=2100).horizon.steps == 2100
    assert settings.horizon == before


def test_plain_settings_are_only_data(settings_of: Compose) -> None:
    settings = settings_of(*WORDS)
    first, _ = plain(settings), settings.horizon
    assert plain(settings) == first
    parts = (first, first["exploration"], first["replay"], first["env"]["preprocess"])
    assert [part["type"] for part in parts] == ["Settings", "Linear", "Uniform", "Preprocess"]
    assert first["dtype"] == "float32"
