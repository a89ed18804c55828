"""Hyperparameters of a run, as trackers of experiments show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from typing import Any, TypeAlias, get_type_hints

from dqn_cli.training.settings import Settings

Scalar: TypeAlias = bool | float | str

# Settings that do not change what is learned.
EXCLUDED = ("checkpoint", "eval", "log", "logger", "stop", "video")


def hyperparameters(settings: Settings) -> dict[str, Scalar]:
    """Return flat settings such as `optimizer.lr: 0.001`, whatever their depth.

    A choice is named by its type, as `optimizer.type: Adam`. Lists and null become strings. Parts
    such as `anneal.lr` that are as they are by default are left out.
    """
    hints = get_type_hints(Settings)
    flat: dict[str, Scalar] = {}
    for entry in fields(settings):
        name, value = entry.name, getattr(settings, entry.name)
        if name in EXCLUDED:
            continue
        if is_dataclass(value) and type(value) is not hints[name]:  # one choice of several
            flat[f"{name}.type"] = type(value).__name__
        flat |= _flat(name, value)
    return flat


def _flat(key: str, value: Any) -> Iterator[tuple[str, Scalar]]:
    """Iterate over the scalars in a value, by keys with dots."""
    if is_dataclass(value):
        for entry in fields(value):
            inner = getattr(value, entry.name)
            if entry.default_factory is MISSING or inner != entry.default_factory():
                yield from _flat(f"{key}.{entry.name}", inner)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(f"{key}.{name}", item)
    elif isinstance(value, Enum):
        yield key, value.name
    else:
        yield key, value if isinstance(value, (bool, int, float, str)) else str(value)
