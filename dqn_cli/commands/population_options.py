"""Keys of `hydra.launcher` of a population, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import OmegaConf

from dqn_cli.config.validation import ConfigError
from dqn_cli.config.yaml_files import load_yaml

On = Enum("On", ["local", "ray", "slurm"])
PREFIX = "hydra.launcher."
SWEEP_FILE = "multirun.yaml"  # Hydra's own configuration, in a sweep's folder


class RayOptions(NamedTuple):
    """Options of Ray: the cluster, and further arguments of `ray.init`."""

    address: str = "auto"
    init: Mapping[str, Any] = {}


class SlurmOptions(NamedTuple):
    """Options of submitit; `time` in minutes and `mem` in GB, of a group."""

    cluster: str = "slurm"
    partition: str | None = None
    account: str | None = None
    time: int = 60
    mem: float = 4
    additional: Mapping[str, Any] = {}


class PopulationOptions(NamedTuple):
    """Options of a population, as typed under `hydra.launcher`."""

    processes: int | str = "auto"
    members: int = 16
    on: On = On.local
    gpus: float = 0
    retries: int = 10
    ray: RayOptions = RayOptions()
    slurm: SlurmOptions = SlurmOptions()


def read_options(values: Mapping[str, Any]) -> PopulationOptions:
    """Return the options of a population.

    Raises:
        ConfigError: A value is not valid.
    """
    ray, slurm = _plain(values["ray"]), _plain(values["slurm"])
    return PopulationOptions(
        processes=_processes(values),
        members=_count(values, "members"),
        on=_on(values),
        gpus=_number(values, "gpus", 0),
        retries=_count(values, "retries", 0),
        ray=RayOptions(_text(ray, "ray.address"), _mapping(ray, "ray.init")),
        slurm=SlurmOptions(
            _cluster(slurm),
            _text(slurm, "slurm.partition", may_lack=True),
            _text(slurm, "slurm.account", may_lack=True),
            _count(slurm, "slurm.time"),
            _number(slurm, "slurm.mem", 0, above=True),
            _mapping(slurm, "slurm.additional"),
        ),
    )


def stored_options(sweep: Path, words: Sequence[str] = ()) -> PopulationOptions:
    """Return the options that a sweep was begun with, changed by words.

    A sweep of another launcher is resumed as a population on this machine.

    Raises:
        ConfigError: A word or a stored value is not valid.
    """
    values = PopulationOptions()._asdict() | {"on": On.local.name}
    values |= {"ray": RayOptions()._asdict(), "slurm": SlurmOptions()._asdict()}
    file = sweep / SWEEP_FILE
    stored = _at(load_yaml(file) if file.is_file() else None, "hydra", "launcher")
    if str(stored.get("_target_")).endswith(".PopulationLauncher"):
        values |= {key: stored[key] for key in values if key in stored}
    typed = OmegaConf.create(values)
    for word in (each.lstrip("+") for each in words):
        key = word.partition("=")[0].removeprefix(PREFIX)
        first, _, second = key.partition(".")
        if first not in values or (
            second and second.partition(".")[0] not in _plain(values[first])
        ):
            raise ConfigError(f"{word}: there is no key {PREFIX}{key}")
        typed.merge_with_dotlist([word.removeprefix(PREFIX)])
    return read_options(_plain(typed))


def _at(data: Any, *keys: str) -> dict[str, Any]:
    """Return the dict at nested keys, or an empty one."""
    for key in keys:
        data = data.get(key) if isinstance(data, dict) else None
    return data if isinstance(data, dict) else {}


def _plain(value: Any) -> dict[str, Any]:
    plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    return _at(plain)


def _get(values: Mapping[str, Any], key: str) -> Any:
    return values.get(key.rpartition(".")[2])


def _processes(values: Mapping[str, Any]) -> int | str:
    if values["processes"] == "auto":
        return "auto"
    return _count(values, "processes", hint="auto or ")


def _on(values: Mapping[str, Any]) -> On:
    value = values["on"]
    if value not in On.__members__:
        raise _invalid("on", value, " or ".join(On.__members__))
    return On[value]


def _cluster(values: Mapping[str, Any]) -> str:
    value = _get(values, "cluster")
    if value not in ("slurm", "local"):
        raise _invalid("slurm.cluster", value, "slurm, or local for processes of this machine")
    return str(value)


def _count(values: Mapping[str, Any], key: str, least: int = 1, hint: str = "") -> int:
    value = _get(values, key)
    if type(value) is not int or value < least:
        raise _invalid(key, value, f"{hint}a whole number of at least {least}")
    return value


def _number(values: Mapping[str, Any], key: str, least: float, above: bool = False) -> float:
    value = _get(values, key)
    is_number = type(value) in (int, float) and math.isfinite(value)
    if not is_number or value < least or (above and value == least):
        raise _invalid(key, value, f"a number {'above' if above else 'of at least'} {least}")
    return float(value)


def _text(values: Mapping[str, Any], key: str, may_lack: bool = False) -> Any:
    value = _get(values, key)
    if (value is None and may_lack) or (isinstance(value, str) and value.strip()):
        return value
    raise _invalid(key, value, "text")


def _mapping(values: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = _get(values, key)
    if not isinstance(value, dict):
        raise _invalid(key, value, "keys with values, as {key: value}")
    return value


def _invalid(key: str, value: Any, right: str) -> ConfigError:
    return ConfigError(f"{PREFIX}{key}={value} is not valid: it must be {right}")
