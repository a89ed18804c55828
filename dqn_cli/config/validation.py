"""Checking a composed configuration once, before anything runs."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from dqn_cli.config.combinations import refusal
from dqn_cli.config.hints import unknown_key
from dqn_cli.ranges import Range
from dqn_cli.training.settings import Settings


class ConfigError(ValueError):
    """A configuration that can't run; the message is one line that says what would be right."""


def settings_from(config: DictConfig) -> Settings:
    """The settings that a composed configuration describes; ConfigError if they make no sense."""
    settings = _built(config, "")
    assert isinstance(settings, Settings)
    if reason := refusal(settings):
        raise ConfigError(reason)
    return settings


def _built(config: DictConfig, prefix: str) -> Any:
    """The dataclass that a node stands for, made of checked values."""
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
            values[name] = _built(value, f"{key}.")
        elif OmegaConf.is_config(value):
            values[name] = _checked(key, OmegaConf.to_container(value), hints[name])
        else:
            values[name] = _checked(key, value, hints[name])
    try:
        return part(**values)
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _checked(key: str, value: Any, hint: Any) -> Any:
    """The value as the number its hint asks for; ConfigError if it is none or out of range."""
    options = [hint, *get_args(hint)]
    if value is None and type(None) in options:
        return None
    items = next((get_args(each)[0] for each in options if get_origin(each) is list), None)
    if isinstance(value, list) and items is not None:
        return [_checked(f"{key}[{i}]", item, items) for i, item in enumerate(value)]
    annotated = next((each for each in options if get_origin(each) is Annotated), None)
    if annotated is None:
        return value
    allowed: Range = get_args(annotated)[1]
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not number or not allowed.admits(value):
        shown = "null" if value is None else value
        raise ConfigError(f"{key}={shown} is not valid: it must be {allowed}")
    return int(value) if allowed.whole else float(value)
