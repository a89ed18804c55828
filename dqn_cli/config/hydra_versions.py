"""Calls that differ between Hydra 1.3 and 1.4, and between OmegaConf 2.3 and 2.4."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from dqn_cli.config.paths import config_folder

# Hydra 1.4 creates no other object that a configuration names; launchers and sweepers it knows.
CREATED_OBJECTS = ("dqn_cli.config.run_folders.ClaimFolders", "optuna.samplers.*")


def is_before_1_4(version: str = hydra.__version__) -> bool:
    """Return whether this is Hydra 1.3, which asks for the version whose defaults it shall use."""
    return version.startswith("1.3.")


def compose_config(words: Sequence[str]) -> DictConfig:
    """Return the configuration that Hydra composes of words, without running anything."""
    base: dict[str, Any] = {"version_base": "1.3"} if is_before_1_4() else {}
    with hydra.initialize_config_dir(str(config_folder()), **base):
        return hydra.compose("config", overrides=[*words])


def main_arguments() -> dict[str, Any]:
    """Return the arguments of `hydra.main`, but for the configuration."""
    if is_before_1_4():
        return {"version_base": "1.3"}
    return {"execution_whitelist": CREATED_OBJECTS}


def register_resolver(name: str, resolver: Callable[..., Any], use_cache: bool = False) -> None:
    """Let configurations call `resolver` as `${name:...}`."""
    # In OmegaConf 2.3, `register_resolver` is an older function.
    register: Any = (
        OmegaConf.register_new_resolver if is_before_1_4() else OmegaConf.register_resolver
    )
    register(name, resolver, use_cache=use_cache, replace=True)
