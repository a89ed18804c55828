"""Composition of each job once: Hydra composes all to check them, and a launcher to run them."""

from __future__ import annotations

import pickle
import zlib
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from hydra.core.config_loader import ConfigLoader
from hydra.types import HydraContext
from omegaconf import DictConfig


class ComposeOnce:
    """Loader of configurations that keeps each job's until it is launched."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        # Packed, because the objects of thousands of jobs would fill the memory.
        self._packed: dict[tuple[str, ...], bytes] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of a copy that is being made
            raise AttributeError(name)
        return getattr(self._loader, name)

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """Compose a job, and keep it for `take`."""
        composed = self._loader.load_sweep_config(master_config, sweep_overrides)
        with suppress(pickle.PicklingError, AttributeError, TypeError):  # a class in a function
            self._packed[tuple(sweep_overrides)] = zlib.compress(pickle.dumps(composed), 1)
        return composed

    def take(self, config: DictConfig, overrides: Sequence[str]) -> DictConfig:
        """Return a job's configuration, which is forgotten here."""
        packed = self._packed.pop(tuple(overrides), None)
        if packed is None:
            return self._loader.load_sweep_config(config, list(overrides))
        composed: DictConfig = pickle.loads(zlib.decompress(packed))
        return composed


def compose_once(context: HydraContext) -> None:
    """Let a sweep's context compose each job once."""
    if not isinstance(context.config_loader, ComposeOnce):
        context.config_loader = ComposeOnce(context.config_loader)  # type: ignore[assignment]


def take_composed(
    context: HydraContext, config: DictConfig, overrides: Sequence[str]
) -> DictConfig:
    """Return a job's configuration, composed now if nobody did before."""
    loader: Any = context.config_loader
    if isinstance(loader, ComposeOnce):
        return loader.take(config, overrides)
    composed: DictConfig = loader.load_sweep_config(config, list(overrides))
    return composed
