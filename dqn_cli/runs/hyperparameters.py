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
    named = _flat("", settings)
    return {key: value for key, value in named if key.partition(".")[0] not in EXCLUDED}


def _flat(key: str, value: Any) -> Iterator[tuple[str, Scalar]]:
    """Iterate over the scalars in a value, by keys with dots."""
    if is_dataclass(value):
        hints = get_type_hints(type(value))
        for entry in fields(value):
            inner, name = getattr(value, entry.name), f"{key}.{entry.name}" if key else entry.name
            if entry.default_factory is not MISSING and inner == entry.default_factory():
                continue
            if is_dataclass(inner) and type(inner) is not hints[entry.name]:  # one of several
                yield f"{name}.type", type(inner).__name__
            yield from _flat(name, inner)
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(f"{key}.{name}", item)
    elif isinstance(value, Enum):
        yield key, value.name
    else:
        yield key, value if isinstance(value, (bool, int, float, str)) else str(value)
