"""Hydra configuration source of all registered Gymnasium ids, without a file for each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib import import_module
from typing import Any, ClassVar

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import OmegaConf

from dqn_cli.config.tuned_source import TunedSource

ATARI = "ALE/base_atari"  # in configs/env

# Ids of Atari games before they became ALE/NAME-v5.
LEGACY_ATARI_ID = re.compile(r"(?P<game>\w+?)(?P<variant>NoFrameskip|Deterministic)?-v[04]")


class GymnasiumSource(ConfigSource):
    """Group `env` with a choice for each registered Gymnasium id."""

    user_modules: ClassVar[Sequence[str]] = ()

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider=provider, path=path)
        # A launcher copies this object to processes that have not imported them.
        self._modules = tuple(self.user_modules)

    @staticmethod
    def scheme() -> str:
        """Return the scheme of this source's URL in Hydra's search path."""
        return "gymnasium"

    def load_config(self, config_path: str) -> ConfigResult:
        """Return a configuration that names the environment; ALE games share more settings."""
        from dqn_cli.envs.env_ids import is_ale

        env_id = _env_id(config_path)
        shared = {"defaults": [ATARI, "_self_"]} if is_ale(env_id) else {}
        config = OmegaConf.create(shared | {"env": {"id": env_id}})
        header: dict[str, str | None] = {"package": "_global_"}
        return ConfigResult(self.provider, f"{self.scheme()}://", config, header)

    def available(self) -> bool:
        """Return True: Gymnasium is a requirement of this package."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Return True for `env`, the only group of this source."""
        return config_path in ("", "env")

    def is_config(self, config_path: str) -> bool:
        """Return True for an id that Gymnasium knows, and for a function `module:make`.

        The user's own modules are imported first.

        Raises:
            ConfigCompositionException: If a module is missing, if the id needs an extra that is
                not installed, or if it is a legacy Atari id.
        """
        for module in self._modules:
            _import(module, f"import={module}")
        group, _, env_id = config_path.partition("/")
        return group == "env" and bool(env_id) and is_known(_env_id(env_id))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return all registered ids but legacy Atari ids."""
        if config_path == "":
            return ["env"] if results_filter is not ObjectType.CONFIG else []
        if config_path != "env" or results_filter is ObjectType.GROUP:
            return []
        return sorted(env_id for env_id in registered_envs() if not _current_id(env_id))


class SearchPath(SearchPathPlugin):
    """Search path with GymnasiumSource behind the YAML files, so that these win.

    TunedSource is in front: it reads the files of its group itself.
    """

    # Hydra puts the folders of a command line behind those of plugins.
    user_folders: ClassVar[Sequence[str]] = ()

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the user's folders, then Gymnasium."""
        search_path.prepend("dqn-train", f"{TunedSource.scheme()}://")
        for folder in self.user_folders:
            search_path.append("command-line", folder)
        search_path.append("dqn-train", f"{GymnasiumSource.scheme()}://")


def register_source(user_folders: Sequence[str] = (), user_modules: Sequence[str] = ()) -> None:
    """Register the sources and their search path with Hydra, in this process.

    Args:
        user_folders: Folders or URLs of YAML files that win over the bare ids.
        user_modules: Modules that register environments or parts.
    """
    Plugins.instance().register(GymnasiumSource)
    Plugins.instance().register(TunedSource)
    Plugins.instance().register(SearchPath)
    SearchPath.user_folders = TunedSource.user_folders = tuple(user_folders)
    GymnasiumSource.user_modules = tuple(user_modules)


@cache
def is_known(env_id: str) -> bool:
    """Return True if Gymnasium knows this id or it names a function of a module.

    The module of `module:ID` is imported first.

    Raises:
        ConfigCompositionException: As GymnasiumSource.is_config.
    """
    module, separator, name = env_id.rpartition(":")
    if separator:
        _import(module, f"env={env_id}")
    from dqn_cli.envs.env_ids import missing_extra, vector_factory

    if name not in registered_envs() and (missing := missing_extra(name)):
        raise ConfigCompositionException(f"env={env_id} {missing}")
    if current := _current_id(name):
        raise ConfigCompositionException(
            f"env={env_id} is a legacy id without preprocessing; use env={current}"
        )
    return name in registered_envs() or vector_factory(env_id) is not None


def registered_envs() -> dict[str, Any]:
    """Return Gymnasium's registry, this package's own environments included."""
    import gymnasium

    import dqn_cli.envs  # noqa: F401  (registers ours)

    return gymnasium.registry


def _import(module: str, word: str) -> None:
    try:
        import_module(module)
    except ImportError as error:
        raise ConfigCompositionException(f"{word}: {error}") from error


def _env_id(config_path: str) -> str:
    return config_path.removeprefix("env/").removesuffix(".yaml")


def _current_id(env_id: str) -> str | None:
    """Return the ALE id of the game if this is one of its legacy ids."""
    legacy = LEGACY_ATARI_ID.fullmatch(env_id)
    if legacy is None:
        return None
    registered, current = registered_envs(), f"ALE/{legacy['game']}-v5"
    # Without ale-py nothing is registered, and only the variant tells.
    unknown = legacy["variant"] and env_id not in registered
    return current if current in registered or unknown else None
