"""Composition of a sweep's jobs: those that differ in values alone share one composition."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import Any, NamedTuple

from hydra._internal.config_loader_impl import get_overrides_dirname
from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, OverrideType
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException


class ComposeOnce:
    """Loader of configurations that composes each structure of a sweep once.

    Hydra composes every job anew, from dozens of files. Values such as `seed=3` choose no file, so
    jobs that set the same keys differ in these values alone.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._parser = OverridesParser.create()
        self._read = cache(self._read_word)  # which looks for files
        self._templates: dict[_Structure, bytes] = {}  # packed: a copy is faster, and small

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # of a copy that is being made
            raise AttributeError(name)
        return getattr(self._loader, name)

    def load_sweep_config(
        self, master_config: DictConfig, sweep_overrides: list[str]
    ) -> DictConfig:
        """Return the configuration of a job.

        Raises:
            HydraException: Hydra can't compose it.
        """
        structure = self._structure_of(master_config, sweep_overrides)
        if structure in self._templates:
            with suppress(OmegaConfBaseException):  # Hydra's own message names the override
                return self._fill(structure, master_config, sweep_overrides)
        composed = self._loader.load_sweep_config(master_config, sweep_overrides)
        if structure:
            with suppress(pickle.PicklingError, AttributeError, TypeError):  # a class in a function
                self._templates[structure] = pickle.dumps(composed)
        return composed

    def _structure_of(self, config: DictConfig, words: Sequence[str]) -> _Structure | None:
        """Return what a job shares with others, or None if Hydra has to compose it alone."""
        read = [self._read(word) for word in words]
        if not read or any(override.is_hydra_override() for override, _ in read):
            return None
        return _Structure(
            tuple(config.hydra.overrides.hydra),
            tuple(
                override.key_or_group if is_value else str(override.input_line)
                for override, is_value in read
            ),
        )

    def _read_word(self, word: str) -> tuple[Override, bool]:
        """Return the override that a word is, and whether it sets a value."""
        override = self._parser.parse_override(word)
        return override, self._is_value(override)

    def _is_value(self, override: Override) -> bool:
        """Return whether an override sets a number, a text or a list, and chooses no file."""
        repository = getattr(self._loader, "repository", None)
        return (
            override.type is OverrideType.CHANGE
            and override.package is None
            and not isinstance(override.value(), dict)  # is merged into the one that is there
            and repository is not None
            and not repository.group_exists(override.key_or_group)
        )

    def _fill(self, structure: _Structure, config: DictConfig, words: Sequence[str]) -> DictConfig:
        """Return the structure's configuration with the values of a job."""
        composed: DictConfig = pickle.loads(self._templates[structure])
        overrides = []
        for override, is_value in map(self._read, words):
            overrides.append(override)
            if is_value:
                OmegaConf.update(composed, override.key_or_group, override.value(), merge=True)
        composed.hydra.overrides.task = [override.input_line for override in overrides]
        composed.hydra.job.override_dirname = get_overrides_dirname(
            overrides, **composed.hydra.job.config.override_dirname
        )
        OmegaConf.copy_cache(config, composed)  # names with a time are those of the sweep
        return composed


class _Structure(NamedTuple):
    """Words that jobs have in common which differ in values alone."""

    hydra: tuple[str, ...]  # overrides of Hydra itself
    words: tuple[str, ...]  # overrides, and of values the keys


def compose_once(context: HydraContext) -> None:
    """Let a sweep's context compose each structure once."""
    if not isinstance(context.config_loader, ComposeOnce):
        context.config_loader = ComposeOnce(context.config_loader)  # type: ignore[assignment]
