from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hydra
import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.types import HydraContext
from omegaconf import OmegaConf

from dqn_cli.commands.compose_once import ComposeOnce, compose_once
from dqn_cli.config.hydra_versions import is_before_1_4

FILES = {
    "config": "defaults:\n- part: small\n- _self_\n"
    "seed: 0\nname: null\nwidths: [1, 2]\nkwargs: {a: 1}\nlabel: ${seed}-${part.size}",
    "part/small": "size: 1",
    "part/large": "size: 9",
}


@pytest.fixture
def loader(tmp_path: Path) -> Iterator[Any]:
    """Hydra's loader of a small application."""
    for name, text in FILES.items():
        file = tmp_path / f"{name}.yaml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
    base: dict[str, Any] = {"version_base": "1.3"} if is_before_1_4() else {}
    with hydra.initialize_config_dir(str(tmp_path), **base):
        yield GlobalHydra.instance().config_loader()


@pytest.fixture
def master(loader: Any) -> Any:
    return loader.load_configuration("config", [], hydra.types.RunMode.MULTIRUN)


class Counting:
    """Hydra's loader, which counts what it composes."""

    def __init__(self, loader: Any) -> None:
        self._loader, self.repository, self.composed = loader, loader.repository, 0

    def load_sweep_config(self, config: Any, words: list[str]) -> Any:
        self.composed += 1
        return self._loader.load_sweep_config(config, words)


def as_text(config: Any) -> str:
    return OmegaConf.to_yaml(config) + OmegaConf.to_yaml(config.part, resolve=True)


JOBS = {
    "numbers": (["seed=1"], ["seed=2"], ["seed=3"]),
    "several keys": (["seed=1", "part.size=2"], ["seed=4", "part.size=5"]),
    "texts": (["name=a", "seed=1"], ["name='b, c'", "seed=1"], ["name=null", "seed=2"]),
    "lists": (["widths=[5]"], ["widths=[6,7,8]"], ["widths=[]"]),
    "interpolations": (["name=${seed}"], ["name=x${part.size}"]),
    "one key twice": (["seed=1", "seed=2"], ["seed=4", "seed=3"]),
}


@pytest.mark.parametrize("jobs", JOBS.values(), ids=JOBS)
def test_jobs_that_differ_in_values_are_composed_once(loader: Any, master: Any, jobs: Any) -> None:
    counting = Counting(loader)
    once = ComposeOnce(counting)  # type: ignore[arg-type]
    for words in jobs * 2:
        composed = once.load_sweep_config(master, words)
        assert as_text(composed) == as_text(loader.load_sweep_config(master, words))
        assert OmegaConf.is_struct(composed)
        assert composed.label == f"{composed.seed}-{composed.part.size}"
    assert counting.composed == 1


OTHERS = {
    "files": (["part=small"], ["part=large"]),
    "keys": (["seed=1"], ["name=a"]),
    "added keys": (["+new=1"], ["+new=2"]),
    "removed keys": (["~widths"], ["~kwargs"]),
    "mappings, which are merged": (["kwargs={a:2}"], ["kwargs={a:3}"]),
    "words of Hydra": (["hydra.job.name=a"], ["hydra.job.name=b"]),
}


@pytest.mark.parametrize("jobs", OTHERS.values(), ids=OTHERS)
def test_jobs_that_differ_in_more_are_composed_alone(loader: Any, master: Any, jobs: Any) -> None:
    counting = Counting(loader)
    once = ComposeOnce(counting)  # type: ignore[arg-type]
    for words in jobs:
        composed = once.load_sweep_config(master, words)
        expected = loader.load_sweep_config(master, words)
        assert OmegaConf.to_yaml(composed) == OmegaConf.to_yaml(expected)
    assert counting.composed == 2


def test_other_words_of_hydra_make_another_sweep(loader: Any, master: Any) -> None:
    once = ComposeOnce(loader)
    once.load_sweep_config(master, ["seed=1"])
    master.hydra.overrides.hydra.append("hydra.sweep.dir=elsewhere")
    assert once.load_sweep_config(master, ["seed=2"]).hydra.sweep.dir == "elsewhere"


def test_a_change_to_a_job_does_not_reach_the_next(loader: Any, master: Any) -> None:
    once = ComposeOnce(loader)
    for seed in (1, 2, 3):
        composed = once.load_sweep_config(master, [f"seed={seed}"])
        assert composed.name is None
        composed.name = "changed"


@pytest.mark.parametrize("words", [["wrong=2"], ["seed.deeper=2"], ["part=none"]])
def test_errors_are_those_of_hydra(loader: Any, master: Any, words: list[str]) -> None:
    once = ComposeOnce(loader)
    once.load_sweep_config(master, ["seed=1"])
    with pytest.raises(HydraException) as expected:
        loader.load_sweep_config(master, words)
    with pytest.raises(HydraException) as raised:
        once.load_sweep_config(master, words)
    assert str(raised.value) == str(expected.value)


def test_a_context_composes_once_after_every_batch(loader: Any) -> None:
    context = HydraContext(config_loader=loader, callbacks=None)  # type: ignore[arg-type]
    compose_once(context)
    first: Any = context.config_loader
    compose_once(context)  # of each batch's launcher
    assert context.config_loader is first
    assert first.list_groups("") == loader.list_groups("")
