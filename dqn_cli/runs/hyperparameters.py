"""Hyperparameters of a run, as trackers of experiments show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from dqn_cli.training.settings import Settings, plain

# Settings that do not change what is learned.
EXCLUDED = ("eval", "stop", "checkpoint", "log", "logger", "video")


def hyperparameters(settings: Settings) -> dict[str, Any]:
    """Return flat settings such as `optimizer.lr: 0.001`; lists and null become strings."""
    flat: dict[str, Any] = {}
    for key, value in plain(settings).items():
        if key in EXCLUDED:
            continue
        if not isinstance(value, Mapping):
            flat[key] = value
        else:
            flat |= {f"{key}.{name}": setting for name, setting in value.items()}
    scalars = (bool, int, float, str)
    return {k: v if isinstance(v, scalars) else str(v) for k, v in flat.items() if k != "type"}
