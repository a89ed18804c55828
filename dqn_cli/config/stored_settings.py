"""Settings read from a checkpoint and checked like any others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import is_dataclass
from typing import Any, get_args, get_origin, get_type_hints

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dqn_cli.agent.augmentation import NoAugment
from dqn_cli.config.registry import part_named
from dqn_cli.config.validation import ConfigError, settings_from
from dqn_cli.training.settings import Settings

# Keys that a resumed run may change; another device or thread count may change the last bits.
CHANGEABLE = (
    "steps", "episodes", "device", "threads", "env.timeout", "eval", "stop", "log", "checkpoint",
    "logger",
    "data.path", "video",
)  # fmt: skip

EVAL_KWARGS = "eval.env.kwargs."  # arguments of gymnasium.make, which need no key of that name yet


def stored_settings(data: Mapping[str, Any], overrides: Sequence[str] = ()) -> Settings:
    """Return the settings that `plain` turned into data, with the overrides of a resumed run.

    Raises:
        ConfigError: A part is unknown, a value is not valid, or an override is not one of
            CHANGEABLE.
    """
    config = _typed_node(data, Settings)
    for override in overrides:
        _apply(override, config)
    return settings_from(config)


def acting_settings(data: Mapping[str, Any]) -> Settings:
    """Return stored settings without unknown parts that acting does without.

    So a policy acts where the package of an auxiliary part, a logger or an augmentation is missing.

    Raises:
        ConfigError: As `stored_settings`.
    """
    known = dict(data)
    for group in ("auxiliary", "logger"):
        if isinstance(parts := data.get(group), dict):
            known[group] = {name: part for name, part in parts.items() if _is_known(part)}
    if "augment" in data and not _is_known(data["augment"]):
        known["augment"] = {"type": NoAugment.__name__}
    return stored_settings(known)


def _is_known(part: Any) -> bool:
    """Return whether a part is of a registered class; True for anything else, refused later."""
    if not isinstance(part, dict) or not isinstance(part.get("type"), str):
        return True
    try:
        part_named(part["type"])
    except KeyError:
        return False
    return True


def _apply(override: str, config: DictConfig) -> None:
    """Change the value that a word of a resumed run names."""
    key = override.partition("=")[0]
    if key.startswith(f"+{EVAL_KWARGS}"):
        key = key[1:]
    is_changeable = any(f"{key}.".startswith(f"{name}.") for name in CHANGEABLE)
    if "=" not in override or not is_changeable:
        changeable = ", ".join(CHANGEABLE)
        raise ConfigError(
            f"{key} can't change when a run is resumed; only {changeable} can: a resumed run keeps"
            f" its settings, so another {key} needs a new run"
        )
    if key == "logger":
        names = ", ".join(map(str, config.logger)) or "none"
        raise ConfigError(
            f"{override}: a resumed run keeps its loggers, and has {names}; only their keys can"
            " change, as logger.NAME.KEY=VALUE"
        )
    is_known = OmegaConf.select(config, key, default=config) is not config
    if not is_known and not key.startswith(EVAL_KWARGS):
        raise ConfigError(f"unknown key {key}")
    (typed,) = OverridesParser.create().parse_overrides([override])
    if typed.is_sweep_override():
        raise ConfigError(f"{override} has several values; a resumed run takes one")
    section, value = OmegaConf.select(config, key), typed.value()
    if isinstance(section, DictConfig) and not isinstance(value, dict):
        keys = ", ".join(f"{key}.{name!s}" for name in section)
        raise ConfigError(f"{override} is not valid: {key} has keys of its own, {keys}")
    OmegaConf.update(config, key, value, force_add=True)


def _typed_node(data: Any, expected: type[Any], name: str = "settings") -> DictConfig:
    """Return a typed node of the part that the data names, a subclass of the expected one."""
    if not isinstance(data, dict) or not isinstance(data.get("type"), str):
        raise ConfigError(f"{name} has no type in the checkpoint")
    part = _part_named(data["type"])
    is_base = part is expected and bool(part.__subclasses__())
    if not issubclass(part, expected) or is_base:
        raise ConfigError(f"the checkpoint has {part.__name__} where a {expected.__name__} belongs")
    config = OmegaConf.structured(part)
    assert isinstance(config, DictConfig)
    hints = get_type_hints(part)
    for key, value in data.items():
        if key == "type":
            continue
        where = f"{name}.{key}"
        if key not in hints:
            raise ConfigError(f"{where} in the checkpoint is unknown: {part.__name__} has no {key}")
        if is_dataclass(hints[key]):
            config[key] = _typed_node(value, hints[key], where)
            continue
        kind: type[Any] = [object, *get_args(hints[key])][-1]
        if get_origin(hints[key]) is dict and kind is not Any and is_dataclass(kind):
            nodes = _items(value, where)
            config[key] = {k: _typed_node(v, kind, f"{where}.{k}") for k, v in nodes}
            continue
        if _has_interpolation(value):
            raise ConfigError(f"{where} in the checkpoint refers to another value, with ${{")
        try:
            OmegaConf.update(config, key, value)
        except OmegaConfBaseException as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"{where} in the checkpoint is not valid: {reason}") from error
    return config


def _items(value: Any, name: str) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise ConfigError(f"{name} in the checkpoint is not valid: its parts have no names")
    return value.items()


def _has_interpolation(value: Any) -> bool:
    """Return True if OmegaConf would replace a text in the value by something else."""
    if isinstance(value, dict):
        return any(map(_has_interpolation, [*value, *value.values()]))
    if isinstance(value, (list, tuple)):
        return any(map(_has_interpolation, value))
    return isinstance(value, str) and ("${" in value or value == "???")


def _part_named(name: str) -> type[Any]:
    try:
        return part_named(name)
    except KeyError as error:
        raise ConfigError(
            f"the checkpoint uses {name}, which is unknown here; name its package: import=[package]"
        ) from error
