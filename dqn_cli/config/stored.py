"""Settings that were stored in a checkpoint, made whole again and checked like any others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from dqn_cli.config.registry import part_named
from dqn_cli.config.validation import ConfigError, settings_from
from dqn_cli.training.settings import Settings

# What a resumed run may change; with another device or thread count the bits may differ.
CHANGEABLE = ("steps", "episodes", "device", "threads", "eval", "log", "checkpoint")


def stored_settings(data: Mapping[str, Any], overrides: Sequence[str] = ()) -> Settings:
    """The settings that `plain` made data of, with the changes that a resumed run may make.

    Raises ConfigError if a part is not known here, or if an override may not change.
    """
    config = _typed(data)
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or key.split(".")[0] not in CHANGEABLE:
            changeable = ", ".join(CHANGEABLE)
            raise ConfigError(f"{key} can't change when a run is resumed; only {changeable} can")
        if OmegaConf.select(config, key, default=config) is config:
            raise ConfigError(f"unknown key {key}")
        OmegaConf.update(config, key, OmegaConf.create(f"value: {value}").value)
    return settings_from(config)


def _typed(data: Mapping[str, Any]) -> DictConfig:
    try:
        config = OmegaConf.structured(part_named(data["type"]))
    except KeyError as error:
        raise ConfigError(
            f"the checkpoint uses {error.args[0]}, which is not known here;"
            " name the package that has it: import=[package]"
        ) from error
    assert isinstance(config, DictConfig)
    for key, value in data.items():
        if key != "type":
            nested = isinstance(value, Mapping) and "type" in value
            config[key] = _typed(value) if nested else value
    return config
