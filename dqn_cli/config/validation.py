"""Check of a composed configuration, once, before anything runs."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from dqn_cli.config.combinations import find_conflict
from dqn_cli.config.hints import unknown_key
from dqn_cli.config.memory_needs import find_excess, find_oversized
from dqn_cli.config.rules import first_conflict
from dqn_cli.ranges import Range
from dqn_cli.training.settings import Settings


class ConfigError(ValueError):
    """Configuration that can't run; the message is one line that says what would be right."""


def settings_from(config: DictConfig) -> Settings:
    """Return the settings that a composed configuration describes.

    Raises:
        ConfigError: If a key is unknown, a value is out of range, or settings contradict.
    """
    if reason := _unknown_support(config):
        raise ConfigError(reason)
    settings = _build(config, "")
    assert isinstance(settings, Settings)
    if reason := first_conflict(settings, (find_conflict, find_oversized, find_excess)):
        raise ConfigError(reason)
    return settings


def _unknown_support(config: DictConfig) -> str | None:
    """Return what to set if C51 takes its support from an environment that does not tell it."""
    keys = {"head.v_min": "env.min_return", "head.v_max": "env.max_return"}
    unknown = [
        source for key, source in keys.items() if OmegaConf.select(config, key, default=0) is None
    ]
    if not unknown:
        return None
    values = " and ".join(f"{key}=NUMBER" for key in unknown)
    return (
        f"head=c51 needs the lowest and the highest discounted return of env={config.env.id}, which"
        f" are not known: set {values}, or use head=qr"
    )


def _build(config: DictConfig, prefix: str) -> Any:
    """Return the dataclass of a node, with checked values."""
    part = OmegaConf.get_type(config)
    assert part is not None
    hints = get_type_hints(part, include_extras=True)
    names = [field.name for field in fields(part)]
    for name in map(str, config):
        if name not in names:
            raise ConfigError(unknown_key(f"{prefix}{name}", part))
    values: dict[str, Any] = {}
    for name in names:
        key = f"{prefix}{name}"
        if OmegaConf.is_missing(config, name):
            raise ConfigError(f"{key} is not set: give it a value, {key}=...")
        value = config[name]
        if isinstance(value, DictConfig) and is_dataclass(OmegaConf.get_type(value)):
            values[name] = _build(value, f"{key}.")
        elif isinstance(value, DictConfig) and is_dataclass(get_args(hints[name])[-1]):
            values[name] = {part: _build(value[part], f"{key}.{part}.") for part in map(str, value)}
        elif OmegaConf.is_config(value):
            plain = OmegaConf.to_container(value, resolve=True)
            values[name] = _checked_value(key, plain, hints[name])
        else:
            values[name] = _checked_value(key, value, hints[name])
    try:
        return part(**values)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _checked_value(key: str, value: Any, hint: Any) -> Any:
    """Return the value as the number that its type hint asks for.

    Raises:
        ConfigError: If it is not a number, or out of range.
    """
    options = [hint, *get_args(hint)]
    is_optional = type(None) in options
    if value is None and is_optional:
        return None
    items = next((get_args(option)[0] for option in options if get_origin(option) is list), None)
    if isinstance(value, list) and items is not None:
        return [_checked_value(f"{key}[{i}]", item, items) for i, item in enumerate(value)]
    annotated = next((option for option in options if get_origin(option) is Annotated), None)
    if annotated is None:
        return value
    allowed: Range = get_args(annotated)[1]
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not allowed.contains(value):
        shown = "null" if value is None else value
        right = f"{allowed}, or null" if is_optional else str(allowed)
        raise ConfigError(f"{key}={shown} is not valid: it must be {right}")
    return int(value) if allowed.whole else float(value)
