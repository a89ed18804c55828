"""Runs on disk, and the overrides in which they differ."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class RunInfo(NamedTuple):
    """Folder of a run, its environment and the overrides it was started with."""

    folder: Path
    env: str
    overrides: dict[str, str]


def load_run_info(run: Path) -> RunInfo:
    """Read how a run was started."""
    from dqn_cli.config import run_metadata

    overrides = run_metadata.overrides_by_key(run_metadata.load_overrides(run))
    return RunInfo(run, run_metadata.load_env_id(run), overrides)


def find_runs(sweep: Path) -> list[Path]:
    """Return the folders of a sweep's runs; none if the folder itself is a run."""
    from dqn_cli.config.run_metadata import is_run

    return [] if is_run(sweep) else [run for run in sorted(sweep.glob("*/")) if is_run(run)]


def shown_folder(path: Path) -> Path:
    """Return the folder of the runs that stand for a path: that of a search's finalists, if any.

    The trials of a search stopped at different steps, and its best is also the luckiest.
    """
    from dqn_cli.config.run_folders import FRESH, is_search

    fresh = path / FRESH
    if not is_search(path) or not find_runs(fresh):
        return path
    print(f"{path} is a search: its finalists on fresh seeds are shown, {fresh}", file=sys.stderr)
    return fresh


def load_runs(path: Path, command: str, keys: Sequence[str]) -> list[RunInfo]:
    """Return the run in a folder, or every run of the sweep in it; of a search its finalists'.

    Args:
        path: The folder.
        command: The command that was typed, for its error.
        keys: The keys that the command takes.

    Raises:
        ConfigError: If there is none.
    """
    from dqn_cli.config.run_metadata import is_run
    from dqn_cli.config.validation import ConfigError

    if not path.is_dir():
        key = str(path).partition("=")[0]
        hint = f"; {command} takes {', '.join(keys)}" if key != str(path) else ""
        raise ConfigError(f"no run at {path}{hint}")
    path = shown_folder(path)
    runs = [path] if is_run(path) else find_runs(path)
    if not runs:
        raise ConfigError(f"no run in {path}")
    return [load_run_info(run) for run in runs]


def varied_keys(runs: Sequence[RunInfo]) -> list[str]:
    """Return the override keys in which the runs differ, without the seed."""
    from dqn_cli.config import run_metadata

    return run_metadata.varied_keys([run.overrides for run in runs])


def run_label(run: RunInfo, keys: Sequence[str]) -> str:
    """Return `key=value` for each key, with the environment as `env`."""
    values = {"env": run.env} | run.overrides
    return ", ".join(f"{key}={values.get(key, 'default')}" for key in keys)
