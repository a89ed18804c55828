from __future__ import annotations

from collections.abc import Callable

import pytest

from dqn_cli.config.validation import ConfigError
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]


def test_following_one_head_needs_an_ensemble(settings_of: Compose) -> None:
    with pytest.raises(ConfigError, match=r"follows one head .* use head=ensemble, or explor"):
        settings_of("exploration=bootstrapped")
    assert settings_of("exploration=bootstrapped", "head=ensemble")
    assert settings_of("exploration=boltzmann", "head=ensemble", "head.mixture=true")


def test_a_rollout_has_no_targets_of_each_head(settings_of: Compose) -> None:
    with pytest.raises(ConfigError, match=r"replay=rollout has one return .* use replay=uniform"):
        settings_of("agent=pqn", "head=ensemble", "train_every=64", "tuned=none")
