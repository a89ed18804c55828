"""Metadata that Hydra stores in a run's folder: how the run was started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dqn_cli.config.validation import ConfigError
from dqn_cli.config.yaml_files import load_yaml
from dqn_cli.runs.job import JOB_NAME

HYDRA_FOLDER = ".hydra"  # every run has it, finished or not


def is_run(folder: Path) -> bool:
    """Return True if a run was started in this folder."""
    return (folder / HYDRA_FOLDER).is_dir()


def load_overrides(run: Path) -> list[str]:
    """Return the overrides that a run was started with."""
    words = _load(run, "overrides")
    if not isinstance(words, list) or not all(str(word).isprintable() for word in words):
        raise _damaged(run, "overrides", "it must be a list of words")
    return [str(word) for word in words]


def overrides_by_key(overrides: Iterable[str]) -> dict[str, str]:
    """Return values by key, without the plus signs of new keys."""
    pairs = (word.lstrip("+").partition("=") for word in overrides)
    return {key: value for key, _, value in pairs}


def varied_keys(runs: Sequence[Mapping[str, str]]) -> list[str]:
    """Return the keys in which runs' overrides by key differ, without the seed."""
    keys = sorted({key for run in runs for key in run} - {"seed"})
    return [key for key in keys if len({run.get(key) for run in runs}) > 1]


def load_env_id(run: Path) -> str:
    """Return the id of the environment that a run was started on."""
    env_id = _value(_load(run, "config"), "env", "id")
    if not isinstance(env_id, str) or not env_id.isprintable():
        raise _damaged(run, "config", "env.id must be text of one line")
    return env_id


def load_job_number(run: Path) -> int:
    """Return the number of a run in its sweep, or 0 for a run without a sweep."""
    if JOB_NAME.match(run.name):  # so that a table of thousands of runs parses no YAML
        return job_number(run, 0)
    number = _value(_load(run, "hydra"), "hydra", "job", "num")
    return number if type(number) is int else 0


def job_number(run: Path, number: int) -> int:
    """Return the number that the name of a job's folder begins with, else Hydra's `number`.

    A sweeper that launches some of its jobs again names their folders itself.
    """
    return int(run.name.partition("_")[0]) if JOB_NAME.match(run.name) else number


def _load(run: Path, name: str) -> Any:
    return load_yaml(_file(run, name))


def _file(run: Path, name: str) -> Path:
    return run / HYDRA_FOLDER / f"{name}.yaml"


def _value(data: Any, *keys: str) -> Any:
    """Return the value at nested keys, or None if there is none."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _damaged(run: Path, name: str, reason: str) -> ConfigError:
    return ConfigError(f"{_file(run, name)} is damaged: {reason}")
