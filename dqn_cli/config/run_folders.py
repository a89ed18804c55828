"""Names and creation of run folders: no two runs share one."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, open_dict

from dqn_cli.config.run_metadata import is_run
from dqn_cli.config.validation import ConfigError, settings_from

LONGEST_NAME = 120


def register_resolvers() -> None:
    """Register `${run_folder:...}`, `${sweep_folder:...}` and `${job_folder:...}`."""
    resolvers: dict[str, Callable[..., str]] = {
        "run_folder": run_folder,
        "sweep_folder": sweep_folder,
        "job_folder": job_folder,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, use_cache=True, replace=True)


def run_folder(env_id: str, overrides: Sequence[str]) -> str:
    """Return outputs/ENV_OVERRIDES_TIME."""
    return f"outputs/{_join(env_id, _without_env(overrides), _timestamp())}"


def sweep_folder(env_id: str, overrides: Sequence[str]) -> str:
    """Return outputs/ENV_sweep_KEYS_TIME, where KEYS have several values."""
    keys = [override.split("=")[0] for override in _without_env(overrides) if "," in override]
    return f"outputs/{_join(env_id, ['sweep', *keys], _timestamp())}"


def job_folder(number: int, overrides: Sequence[str]) -> str:
    """Return NUMBER_OVERRIDES, a folder inside that of the sweep."""
    return _join(str(number), overrides, "")


class Refused(BaseException):
    """Wrapper of an error that Hydra must not handle; `__cause__` is the error."""


class ClaimFolders(Callback):
    """Callback that checks a configuration and creates its folder, before Hydra writes to it."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Create hydra.run.dir."""
        with _errors_refused(), open_dict(config):
            settings_from(_without_hydra(config))
            folder = claim(Path(config.hydra.run.dir), _is_overridden(config, "hydra.run.dir"))
            config.hydra.run.dir = str(folder)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Create hydra.sweep.dir, and pass it to all jobs."""
        with _errors_refused(), open_dict(config):
            typed = _is_overridden(config, "hydra.sweep.dir")
            Sweep.folder = claim(Path(config.hydra.sweep.dir), typed)
            config.hydra.sweep.dir = str(Sweep.folder)
            if not typed:
                # Each job is composed again from its overrides.
                config.hydra.overrides.hydra.append(f"hydra.sweep.dir={Sweep.folder}")


class Sweep:
    """Folder of the sweep that this process runs, if any."""

    folder: Path | None = None


def claim(folder: Path, typed: bool) -> Path:
    """Create a folder for a run or sweep and return it.

    Args:
        folder: The name to try first.
        typed: True if the user chose the name. Other names get a number if they are taken.

    Raises:
        ConfigError: If a typed folder holds a run, or if the folder can't be created.
    """
    try:
        if typed:
            if is_run(folder) or (folder / "multirun.yaml").exists():
                raise ConfigError(
                    f"{folder} holds a run already: choose another folder,"
                    f" or continue that run with resume={folder}"
                )
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        return _create_numbered(folder)
    except OSError as error:
        raise ConfigError(f"can't write to {folder}: {error.strerror}") from error


def _create_numbered(folder: Path) -> Path:
    candidate, number = folder, 2
    while True:
        try:
            candidate.mkdir()
            return candidate
        except FileExistsError:
            candidate = folder.with_name(f"{folder.name}_{number}")
            number += 1


@contextmanager
def _errors_refused() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise Refused from error


def _without_hydra(config: DictConfig) -> DictConfig:
    task = copy.deepcopy(config)
    with open_dict(task):
        del task["hydra"]
    return task


def _is_overridden(config: DictConfig, key: str) -> bool:
    return any(override.startswith(f"{key}=") for override in config.hydra.overrides.hydra)


def _without_env(overrides: Sequence[str]) -> list[str]:
    return [override for override in overrides if not override.startswith("env=")]


def _timestamp() -> str:
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def _join(first: str, middle: Sequence[str], last: str) -> str:
    """Return words joined by `_`, of letters, digits, `.`, `_` and `-`; cut if they are long."""
    words = [re.sub(r"[^A-Za-z0-9._-]+", "-", word).strip("-.") for word in (first, *middle, last)]
    head, tail = "_".join(filter(None, words[:-1])), words[-1]
    limit = LONGEST_NAME - len(tail) - 5  # a number may follow
    if len(head) > limit:
        digest = hashlib.sha256("".join(middle).encode()).hexdigest()[:8]
        head = f"{head[: limit - 9]}_{digest}"
    return "_".join(filter(None, (head, tail)))
