"""Comparison of a stored run with the settings that are typed for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dqn_cli.config.registry import SEVERAL
from dqn_cli.config.stored_settings import stored_settings
from dqn_cli.config.validation import ConfigError
from dqn_cli.runs.manifest import can_resume, load_begun
from dqn_cli.training.settings import Settings, plain

# A file of numbers may have another name now, and a paused run is typed with its next pause.
PASSING = {"tuned", "stop.step"}


def check_same_run(folder: Path, typed: Settings, changes: Sequence[str] = ()) -> None:
    """Check that a folder holds the run that is typed, if it holds one.

    Args:
        folder: Folder of the run.
        typed: The settings.
        changes: Overrides of keys that may differ.

    Raises:
        ConfigError: The run was begun with other settings.
    """
    if not can_resume(folder):
        return
    begun = plain(stored_settings(load_begun(folder)["settings"]))
    keys = PASSING | {change.partition("=")[0].lstrip("+") for change in changes}
    if difference := first_difference(begun, plain(typed), keys):
        key, before, now = difference
        raise ConfigError(
            f"{folder} holds a run with {key}={before}, not {now}, and a resumed run keeps its"
            " settings: type them as they were, or choose another folder"
        )


def first_difference(
    begun: Mapping[str, Any], typed: Mapping[str, Any], ignored: set[str], prefix: str = ""
) -> tuple[str, Any, Any] | None:
    """Return the first key in which plain settings differ, with both values, or None."""
    group = prefix.rstrip(".")
    if group in SEVERAL and begun.keys() != typed.keys():
        return group, f"[{','.join(begun)}]", f"[{','.join(typed)}]"
    if begun.get("type") != typed.get("type"):
        return group, begun.get("type"), typed.get("type")
    for name in dict.fromkeys([*begun, *typed]):
        key, before, now = f"{prefix}{name}", begun.get(name), typed.get(name)
        if before == now or key in ignored:
            continue
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            if difference := first_difference(before, now, ignored, f"{key}."):
                return difference
        else:
            return key, _text(before), _text(now)
    return None


def _text(value: Any) -> Any:
    """Return a value as it is typed."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else value
