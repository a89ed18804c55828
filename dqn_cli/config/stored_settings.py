"""Settings that were stored in a checkpoint, made whole again and checked like any others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from dqn_cli.config.registry import part_named
from dqn_cli.config.validation import ConfigError, settings_from
from dqn_cli.training.settings import Settings

# What a resumed run may change; with another device or thread count the bits may differ.
CHANGEABLE = ("steps", "episodes", "device", "threads", "eval", "log", "checkpoint")


def stored_settings(data: Mapping[str, Any], overrides: Sequence[str] = ()) -> Settings:
    """The settings that `plain` made data of, with the changes that a resumed run may make.

    Raises ConfigError if a part is not known here, or if an override may not change.
    """
    config = _typed(data, Settings)
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or key.split(".")[0] not in CHANGEABLE:
            changeable = ", ".join(CHANGEABLE)
            raise ConfigError(f"{key} can't change when a run is resumed; only {changeable} can")
        if OmegaConf.select(config, key, default=config) is config:
            raise ConfigError(f"unknown key {key}")
        try:
            OmegaConf.update(config, key, OmegaConf.create(f"value: {value}").value)
        except YAMLError as error:
            raise ConfigError(f"{override} can't be read: it must be key=value") from error
    return settings_from(config)


def _typed(data: Mapping[str, Any], expected: type[Any]) -> DictConfig:
    """A typed node of the part that data names, which must be one of those expected there."""
    part = _known(data["type"])
    if not issubclass(part, expected):
        raise ConfigError(f"the checkpoint has {part.__name__} where a {expected.__name__} belongs")
    config = OmegaConf.structured(part)
    assert isinstance(config, DictConfig)
    hints = get_type_hints(part)
    for key, value in data.items():
        if key != "type":
            nested = is_dataclass(hints.get(key))
            config[key] = _typed(value, hints[key]) if nested else value
    return config


def _known(name: str) -> type[Any]:
    try:
        return part_named(name)
    except KeyError as error:
        raise ConfigError(
            f"the checkpoint uses {name}, which is not known here;"
            " name the package that has it: import=[package]"
        ) from error
