from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from dqn_cli.commands.population_options import On, PopulationOptions, read_options, stored_options
from dqn_cli.config.validation import ConfigError
from hydra_plugins.dqn_train_population import PopulationConfig


def keys(*words: str) -> Any:
    """The keys of `hydra.launcher` as Hydra passes them, changed by words."""
    config = OmegaConf.structured(PopulationConfig)
    config.merge_with_dotlist(list(words))
    return {key: value for key, value in config.items() if key != "_target_"}


def test_the_keys_begin_with_the_defaults() -> None:
    assert read_options(keys()) == PopulationOptions()


def test_typed_keys_are_read() -> None:
    words = "on=slurm", "processes=3", "gpus=1", "slurm.time=5", "slurm.additional.slurm_qos=long"
    options = read_options(keys(*words))
    assert (options.on, options.processes, options.gpus) == (On.slurm, 3, 1)
    assert (options.slurm.time, options.slurm.additional) == (5, {"slurm_qos": "long"})


@pytest.mark.parametrize(
    ("word", "right"),
    [
        ("on=pbs", "local or ray or slurm"),
        ("on=null", "local or ray or slurm"),
        ("processes=0", "auto or a whole number of at least 1"),
        ("processes=many", "auto or a whole number of at least 1"),
        ("members=0", "a whole number of at least 1"),
        ("retries=-1", "a whole number of at least 0"),
        ("gpus=-1", "a number of at least 0"),
        ("ray.address=null", "text"),
        ("slurm.cluster=pbs", "slurm, or local"),
        ("slurm.partition=3", "text"),
        ("slurm.time=1.5", "a whole number of at least 1"),
        ("slurm.mem=0", "a number above 0"),
    ],
)
def test_a_wrong_value_is_refused_by_name(word: str, right: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_options(keys(word))
    key, value = word.replace("null", "None").split("=")
    assert str(refused.value).startswith(f"hydra.launcher.{key}={value} is not valid: it must be ")
    assert right in str(refused.value)


def stored(sweep: Path, target: str, **values: Any) -> Path:
    launcher = {"_target_": target, **values}
    OmegaConf.save(OmegaConf.create({"hydra": {"launcher": launcher}}), sweep / "multirun.yaml")
    return sweep


POPULATION = "hydra_plugins.dqn_train_population.PopulationLauncher"


def test_a_sweep_is_resumed_where_it_began_unless_words_say_otherwise(tmp_path: Path) -> None:
    sweep = stored(tmp_path, POPULATION, on="ray", ray={"address": "head:6379", "init": {}})
    options = stored_options(sweep)
    assert (options.on, options.ray.address, options.retries) == (On.ray, "head:6379", 10)
    words = "hydra.launcher.on=local", "+hydra.launcher.slurm.additional.slurm_qos=long"
    options = stored_options(sweep, words)
    assert (options.on, options.slurm.additional) == (On.local, {"slurm_qos": "long"})


def test_a_sweep_of_another_launcher_is_resumed_on_this_machine(tmp_path: Path) -> None:
    assert stored_options(tmp_path) == PopulationOptions()
    assert stored_options(stored(tmp_path, "hydra.BasicLauncher", on="ray")) == PopulationOptions()


@pytest.mark.parametrize("key", ["rays", "slurm.times", "on.what"])
def test_an_unknown_key_is_refused(tmp_path: Path, key: str) -> None:
    with pytest.raises(ConfigError, match=f"there is no key hydra.launcher.{key}"):
        stored_options(tmp_path, [f"hydra.launcher.{key}=1"])
