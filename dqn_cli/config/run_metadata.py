"""What Hydra noted in a run's folder of how it was started."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf

NOTES = ".hydra"  # a folder that holds one holds a run, finished or not


def is_run(folder: Path) -> bool:
    """Whether a run was started in this folder."""
    return (folder / NOTES).is_dir()


def overrides(run: Path) -> list[str]:
    """The overrides it was started with."""
    return [str(word) for word in _noted(run, "overrides")]


def by_key(overrides: Iterable[str]) -> dict[str, str]:
    """Values by key, without the signs that Hydra wants before keys that are new."""
    pairs = (word.lstrip("+").partition("=") for word in overrides)
    return {key: value for key, _, value in pairs}


def env_id(run: Path) -> str:
    """The environment it was started on."""
    return str(_noted(run, "config").env.id)


def job_number(run: Path) -> int:
    """Which job of its sweep it is; 0 if it is none."""
    return OmegaConf.select(_noted(run, "hydra"), "hydra.job.num") or 0


def _noted(run: Path, what: str) -> DictConfig | ListConfig:
    return OmegaConf.load(run / NOTES / f"{what}.yaml")
