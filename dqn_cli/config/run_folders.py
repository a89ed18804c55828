"""Where runs are written: folders a person finds again, and that no two runs share."""

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
    """Makes `${run_folder:...}` and its kin known to OmegaConf."""
    resolvers: dict[str, Callable[..., str]] = {
        "run_folder": run_folder,
        "sweep_folder": sweep_folder,
        "job_folder": job_folder,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, use_cache=True, replace=True)


def run_folder(env_id: str, overrides: Sequence[str]) -> str:
    """outputs/ENV_OVERRIDES_TIME."""
    return f"outputs/{_name(env_id, _chosen(overrides), _now())}"


def sweep_folder(env_id: str, overrides: Sequence[str]) -> str:
    """outputs/ENV_sweep_KEYS_TIME, where KEYS are what is swept."""
    swept = [override.split("=")[0] for override in _chosen(overrides) if "," in override]
    return f"outputs/{_name(env_id, ['sweep', *swept], _now())}"


def job_folder(number: int, overrides: Sequence[str]) -> str:
    """NUMBER_OVERRIDES, inside a sweep's folder."""
    return _name(str(number), _chosen(overrides, keep_env=True), "")


class Refused(BaseException):
    """Stops Hydra at once, whatever it does with an Exception; the cause says what was wrong."""


class ClaimFolders(Callback):
    """Checks a configuration and gives its run or sweep a folder, before Hydra writes."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Claims hydra.run.dir."""
        with _refusing(), open_dict(config):
            settings_from(_without_hydra(config))
            folder = claim(Path(config.hydra.run.dir), _was_typed(config, "hydra.run.dir"))
            config.hydra.run.dir = str(folder)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Claims hydra.sweep.dir, and tells every job."""
        with _refusing(), open_dict(config):
            typed = _was_typed(config, "hydra.sweep.dir")
            Sweep.folder = claim(Path(config.hydra.sweep.dir), typed)
            config.hydra.sweep.dir = str(Sweep.folder)
            if not typed:
                # Jobs are composed anew, from the overrides alone.
                config.hydra.overrides.hydra.append(f"hydra.sweep.dir={Sweep.folder}")


class Sweep:
    """The folder of the sweep that this process is running, if it is."""

    folder: Path | None = None


def claim(folder: Path, typed: bool) -> Path:
    """Creates the folder; under a name of our own a taken one gets a number behind it.

    Raises ConfigError if the user named a folder that holds a run, or if it can't be made.
    """
    try:
        if typed:
            if is_run(folder) or (folder / "multirun.yaml").exists():
                raise ConfigError(
                    f"{folder} holds a run already: choose another folder,"
                    f" or go on with it by resume={folder}"
                )
            folder.mkdir(parents=True, exist_ok=True)
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        free, number = folder, 2
        while True:
            try:
                free.mkdir()
                return free
            except FileExistsError:
                free = folder.with_name(f"{folder.name}_{number}")
                number += 1
    except OSError as error:
        raise ConfigError(f"can't write to {folder}: {error.strerror}") from error


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise Refused from error


def _without_hydra(config: DictConfig) -> DictConfig:
    task = copy.deepcopy(config)
    with open_dict(task):
        del task["hydra"]
    return task


def _was_typed(config: DictConfig, key: str) -> bool:
    return any(override.startswith(f"{key}=") for override in config.hydra.overrides.hydra)


def _chosen(overrides: Sequence[str], keep_env: bool = False) -> list[str]:
    return [o for o in overrides if keep_env or not o.startswith("env=")]


def _now() -> str:
    return datetime.now().strftime("%Y-%m-%d_%H-%M-%S")


def _name(first: str, middle: Sequence[str], last: str) -> str:
    """Words joined by `_`, made of letters, digits, `.`, `_` and `-`, not too long."""
    words = [re.sub(r"[^A-Za-z0-9._-]+", "-", word).strip("-.") for word in (first, *middle, last)]
    head, tail = "_".join(filter(None, words[:-1])), words[-1]
    room = LONGEST_NAME - len(tail) - 5  # a claim may put a number behind it
    if len(head) > room:
        digest = hashlib.sha256("".join(middle).encode()).hexdigest()[:8]
        head = f"{head[: room - 9]}_{digest}"
    return "_".join(filter(None, (head, tail)))
