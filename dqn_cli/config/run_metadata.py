"""Metadata that Hydra stores in a run's folder: how the run was started."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf

HYDRA_FOLDER = ".hydra"  # every run has it, finished or not


def is_run(folder: Path) -> bool:
    """Return True if a run was started in this folder."""
    return (folder / HYDRA_FOLDER).is_dir()


def load_overrides(run: Path) -> list[str]:
    """Return the overrides that a run was started with."""
    return [str(word) for word in _load(run, "overrides")]


def overrides_by_key(overrides: Iterable[str]) -> dict[str, str]:
    """Return values by key, without the plus signs of new keys."""
    pairs = (word.lstrip("+").partition("=") for word in overrides)
    return {key: value for key, _, value in pairs}


def load_env_id(run: Path) -> str:
    """Return the id of the environment that a run was started on."""
    return str(_load(run, "config").env.id)


def load_job_number(run: Path) -> int:
    """Return the number of a run in its sweep, or 0 for a run without a sweep."""
    return OmegaConf.select(_load(run, "hydra"), "hydra.job.num") or 0


def _load(run: Path, name: str) -> DictConfig | ListConfig:
    return OmegaConf.load(run / HYDRA_FOLDER / f"{name}.yaml")
