"""Names and creation of run folders: no two runs share one, and none is overwritten."""

from __future__ import annotations

import copy
import hashlib
import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from dqn_cli.config.current_command import Command, Refused, Sweep
from dqn_cli.config.differences import check_same_run
from dqn_cli.config.hydra_versions import register_resolver
from dqn_cli.config.validation import ConfigError, settings_from
from dqn_cli.loggers.logger import check_installed
from dqn_cli.runs.job import JOB_NAME
from dqn_cli.runs.launched_jobs import waiting_for_jobs
from dqn_cli.runs.locks import lock_folder
from dqn_cli.runs.manifest import HYDRA_FOLDER, MANIFEST, discard_job, discard_unstarted, holds_run
from dqn_cli.storage import write_json

LONGEST_NAME = 120
STUDY_FILE = "search.db"  # in the folder of a search
FRESH = "fresh"  # folder there, of the runs that evaluate the best trials again
COMMAND_FILE = ".command.json"  # in a sweep's folder, until every job has begun
# Jobs of the former run in this process, of the population in processes that hear its signals,
# and those of SLURM go on without this one.
LAUNCHERS_WITHOUT_CHILDREN = (".BasicLauncher", ".PopulationLauncher", ".SlurmLauncher")


def register_resolvers() -> None:
    """Register `${run_folder:...}`, `${sweep_folder:...}` and the other names of folders."""
    resolvers: dict[str, Callable[..., str]] = {
        "run_folder": run_folder,
        "sweep_folder": sweep_folder,
        "job_folder": job_folder,
    }
    for name, resolver in resolvers.items():
        register_resolver(name, resolver, use_cache=True)
    register_resolver("hydra_folder", hydra_folder)


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


def hydra_folder(run: str) -> str | None:
    """Return the name of Hydra's folder in a new run, or None in one whose files must stay."""
    return None if (Path(run) / MANIFEST).is_file() else str(HYDRA_FOLDER)


class ClaimFolders(Callback):
    """Callback that checks a configuration and creates its folder, before Hydra writes to it."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Create hydra.run.dir."""
        with _errors_refused(), open_dict(config), read_write(config.hydra):
            settings = settings_from(_without_hydra(config))
            check_installed(settings.logger, settings.video)
            typed = _is_overridden(config, "hydra.run.dir")
            folder = Command.folder = claim(Path(config.hydra.run.dir), typed)
            if Command.continues:
                check_same_run(folder, settings)
            config.hydra.run.dir = str(folder)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Create hydra.sweep.dir, and pass it to all jobs."""
        with _errors_refused(), open_dict(config), read_write(config.hydra):
            typed = _is_overridden(config, "hydra.sweep.dir")
            sweeper = config.hydra.sweeper._target_
            if sweeper.endswith(".SearchSweeper"):
                # The same command goes on with a search; its failed runs stay as they are.
                Command.changes = ()
                Command.continues |= is_search(Path(config.hydra.sweep.dir))
            Sweep.folder = claim(Path(config.hydra.sweep.dir), typed, is_sweep=True)
            Command.folder = Sweep.folder
            config.hydra.sweep.dir = str(Sweep.folder)
            if not typed:
                # Each job is composed again from its overrides.
                config.hydra.overrides.hydra.append(f"hydra.sweep.dir={Sweep.folder}")
            command = Sweep.folder / COMMAND_FILE
            is_repeatable = sweeper.endswith((".BasicSweeper", ".SearchSweeper"))
            if is_repeatable:
                write_json(command, {"words": _first_words(command)})
            launcher = config.hydra.launcher._target_
            if not launcher.endswith(LAUNCHERS_WITHOUT_CHILDREN):
                Sweep.shutdown = Command.stack.enter_context(waiting_for_jobs(Sweep.folder))


def is_search(folder: Path) -> bool:
    """Return True if a folder is that of a search."""
    return (folder / STUDY_FILE).is_file()


def claim(folder: Path, typed: bool, is_sweep: bool = False) -> Path:
    """Create a folder for a run or sweep and return it.

    With resume=auto, a folder that holds a run or sweep is taken as it is.

    Args:
        folder: The name to try first.
        typed: True if the user chose the name. Other names get a number if they are taken.
        is_sweep: True if each job gets a folder inside.

    Raises:
        ConfigError: If a typed folder holds a run, or if the folder can't be created.
        InUse: If another process trains in a typed folder.
    """
    if Command.continues and not typed:
        key = "hydra.sweep.dir" if is_sweep else "hydra.run.dir"
        raise ConfigError(f"resume=auto needs a folder that stays the same: add {key}=FOLDER")
    try:
        if typed:
            _check_free(folder, is_sweep)
            folder.mkdir(parents=True, exist_ok=True)
            lock_folder(folder, Command.stack)
            _check_free(folder, is_sweep)
            if Command.changes is None:  # failed jobs of a sweep that is resumed stay
                discard_unstarted(folder)
                for job in _jobs_in(folder) if is_sweep else ():
                    discard_job(job)
            return folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        return _create_numbered(folder)
    except OSError as error:
        raise ConfigError(f"can't write to {folder}: {error.strerror}") from error


def _check_free(folder: Path, is_sweep: bool) -> None:
    """Check that a folder holds no run, nor jobs of a sweep.

    Raises:
        ConfigError: It does, and resume=auto was not typed.
    """
    if Command.continues and not (is_sweep and holds_run(folder)):
        return
    if holds_run(folder):
        raise ConfigError(
            f"{folder} holds a run already: choose another folder,"
            f" or continue that run with resume={folder}"
        )
    runs = [job for job in _jobs_in(folder) if holds_run(job)]
    if runs and (is_sweep or any(JOB_NAME.match(job.name) for job in runs)):
        raise ConfigError(
            f"{folder} holds the runs of a sweep already: choose another folder,"
            f" or continue them with resume={folder}"
        )


def _first_words(command: Path) -> list[str]:
    """Return the words that began the sweep: those in its file, if it goes on."""
    if Command.continues and command.exists():
        return [str(word) for word in json.loads(command.read_text())["words"]]
    return list(Command.words)


def _jobs_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*/") if path.is_dir())


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
