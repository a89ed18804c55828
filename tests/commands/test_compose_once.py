from __future__ import annotations

from typing import Any

from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

from dqn_cli.commands.compose_once import compose_once, take_composed


class CountingLoader:
    """Composes a configuration of its words, and counts."""

    composed = 0
    name = "counting"

    def load_sweep_config(self, config: DictConfig, overrides: list[str]) -> DictConfig:
        self.composed += 1
        made = OmegaConf.create({"words": list(overrides), "first": "${words.0}"})
        OmegaConf.set_struct(made, True)
        return made


def test_a_job_that_was_checked_is_not_composed_again() -> None:
    loader: Any = CountingLoader()
    context, config = HydraContext(config_loader=loader, callbacks=None), OmegaConf.create()  # type: ignore[arg-type]
    compose_once(context)
    compose_once(context)  # of each batch's launcher
    assert context.config_loader.name == "counting"  # type: ignore[attr-defined]
    for word in ("a=1", "a=2"):
        context.config_loader.load_sweep_config(master_config=config, sweep_overrides=[word])
    taken = [take_composed(context, config, [word]) for word in ("a=2", "a=1")]
    assert loader.composed == 2
    assert [each.first for each in taken] == ["a=2", "a=1"]
    assert all(OmegaConf.is_struct(each) for each in taken)
    assert take_composed(context, config, ["a=1"]).words == ["a=1"]  # is composed again
    assert loader.composed == 3


def test_other_loaders_work_too() -> None:
    loader: Any = CountingLoader()
    context = HydraContext(config_loader=loader, callbacks=None)  # type: ignore[arg-type]
    assert take_composed(context, OmegaConf.create(), ["a=1"]).words == ["a=1"]
