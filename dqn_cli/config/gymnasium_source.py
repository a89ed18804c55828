"""A source of configuration that knows every registered Gymnasium id, without a file for each."""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from typing import Any

from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf

ATARI = "ALE/base_atari"  # in configs/env

# What ids of Atari's games were before they became ALE/NAME-v5.
OLD_ATARI = re.compile(r"(?P<game>\w+?)(?P<variant>NoFrameskip|Deterministic)?-v[04]")


class GymnasiumSource(ConfigSource):
    """Answers for group `env`, after the folder of YAML files, which therefore wins."""

    @staticmethod
    def scheme() -> str:
        """What `hydra.searchpath` calls this source."""
        return "gymnasium"

    def load_config(self, config_path: str) -> ConfigResult:
        """A configuration that names the environment; for a game of ALE also what games share."""
        from dqn_cli.envs.env_config import is_ale

        env_id = _env_id(config_path)
        shared = {"defaults": [ATARI, "_self_"]} if is_ale(env_id) else {}
        config = OmegaConf.create(shared | {"env": {"id": env_id}})
        header: dict[str, str | None] = {"package": "_global_"}
        return ConfigResult(self.provider, f"{self.scheme()}://", config, header)

    def available(self) -> bool:
        """Always."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Only `env` is known here."""
        return config_path in ("", "env")

    def is_config(self, config_path: str) -> bool:
        """Whether Gymnasium knows an environment of this id; a `module:` before it is imported."""
        group, _, name = config_path.partition("/")
        return group == "env" and bool(name) and _is_registered(_env_id(config_path))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Every registered id that a run can have."""
        if config_path == "":
            return ["env"] if results_filter is not ObjectType.CONFIG else []
        if config_path != "env" or results_filter is ObjectType.GROUP:
            return []
        return sorted(env_id for env_id in _registered() if not _todays_id(env_id))


def register_source() -> None:
    """Makes the source known to Hydra in this process."""
    Plugins.instance().register(GymnasiumSource)


def _env_id(config_path: str) -> str:
    return config_path.removeprefix("env/").removesuffix(".yaml")


@cache
def _is_registered(env_id: str) -> bool:
    module, separator, name = env_id.rpartition(":")
    if separator:
        try:
            import_module(module)
        except ImportError as error:
            raise ConfigCompositionException(f"env={env_id}: {error}") from error
    from dqn_cli.envs.env_config import missing_extra

    if name not in _registered() and (missing := missing_extra(name)):
        raise ConfigCompositionException(f"env={env_id} {missing}")
    if todays := _todays_id(name):
        reason = "is an old id, whose pictures nobody has prepared for a network"
        raise ConfigCompositionException(f"env={env_id} {reason}; use env={todays}")
    return name in _registered()


def _todays_id(env_id: str) -> str | None:
    """What an Atari game is called today, if this is one of its old ids."""
    old = OLD_ATARI.fullmatch(env_id)
    if old is None:
        return None
    registered, todays = _registered(), f"ALE/{old['game']}-v5"
    # Without ale-py nothing is registered, and the variant alone tells.
    unknown = old["variant"] and env_id not in registered
    return todays if todays in registered or unknown else None


def _registered() -> Any:
    import gymnasium

    import dqn_cli.envs  # noqa: F401  (registers ours)

    return gymnasium.registry
