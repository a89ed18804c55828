"""Runs found on disk, and what sets them apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple


class RunInfo(NamedTuple):
    """A run's folder, its environment and the overrides it was started with."""

    folder: Path
    env: str
    overrides: dict[str, str]


def found(run: Path) -> RunInfo:
    """What Hydra noted in a run's folder."""
    from dqn_cli.config import run_metadata

    return RunInfo(run, run_metadata.env_id(run), run_metadata.by_key(run_metadata.overrides(run)))


def runs_in(sweep: Path) -> list[Path]:
    """The folders of a sweep's runs; none where the folder itself is that of a run."""
    from dqn_cli.config.run_metadata import is_run

    return [] if is_run(sweep) else [run for run in sorted(sweep.glob("*/")) if is_run(run)]


def varied_keys(runs: Sequence[RunInfo]) -> list[str]:
    """The overrides in which these runs differ, the seed left out."""
    keys = sorted({key for run in runs for key in run.overrides} - {"seed"})
    return [key for key in keys if len({run.overrides.get(key) for run in runs}) > 1]


def label_of(run: RunInfo, varied: Sequence[str]) -> str:
    """What sets a run apart from others that differ in these keys."""
    values = {"env": run.env} | run.overrides
    return ", ".join(f"{key}={values.get(key, 'default')}" for key in varied)
