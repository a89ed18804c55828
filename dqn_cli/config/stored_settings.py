"""Settings read from a checkpoint and checked like any others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, get_type_hints

from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from dqn_cli.config.registry import part_named
from dqn_cli.config.validation import ConfigError, settings_from
from dqn_cli.training.settings import Settings

# Keys that a resumed run may change; another device or thread count may change the last bits.
CHANGEABLE = ("steps", "episodes", "device", "threads", "eval", "stop", "log", "checkpoint")

EVAL_KWARGS = "eval.env.kwargs."  # arguments of gymnasium.make, which need no key of that name yet


def stored_settings(data: Mapping[str, Any], overrides: Sequence[str] = ()) -> Settings:
    """Return the settings that `plain` turned into data, with the overrides of a resumed run.

    Raises:
        ConfigError: If a part is unknown, or if an override is not one of CHANGEABLE.
    """
    config = _typed_node(data, Settings)
    for override in overrides:
        key, separator, value = override.partition("=")
        if key.startswith(f"+{EVAL_KWARGS}"):
            key = key[1:]
        if not separator or key.split(".")[0] not in CHANGEABLE:
            changeable = ", ".join(CHANGEABLE)
            raise ConfigError(f"{key} can't change when a run is resumed; only {changeable} can")
        is_known = OmegaConf.select(config, key, default=config) is not config
        if not is_known and not key.startswith(EVAL_KWARGS):
            raise ConfigError(f"unknown key {key}")
        try:
            typed = OmegaConf.create(f"value: {value}").value
            OmegaConf.update(config, key, typed, force_add=True)
        except YAMLError as error:
            raise ConfigError(f"{override} can't be read: it must be key=value") from error
    return settings_from(config)


def _typed_node(data: Mapping[str, Any], expected: type[Any]) -> DictConfig:
    """Return a typed node of the part that the data names, a subclass of the expected one."""
    part = _part_named(data["type"])
    if not issubclass(part, expected):
        raise ConfigError(f"the checkpoint has {part.__name__} where a {expected.__name__} belongs")
    config = OmegaConf.structured(part)
    assert isinstance(config, DictConfig)
    hints = get_type_hints(part)
    for key, value in data.items():
        if key != "type":
            nested = is_dataclass(hints.get(key))
            config[key] = _typed_node(value, hints[key]) if nested else value
    return config


def _part_named(name: str) -> type[Any]:
    try:
        return part_named(name)
    except KeyError as error:
        raise ConfigError(
            f"the checkpoint uses {name}, which is unknown here; name its package: import=[package]"
        ) from error
