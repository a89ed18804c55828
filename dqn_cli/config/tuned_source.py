"""Hydra configuration source of group `tuned`: settings for an environment and an agent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import ClassVar

from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig, OmegaConf

from dqn_cli.config.paths import config_folder
from dqn_cli.text import one_line

GROUP = "tuned"
LOOKUP = "tuned_for/"  # in configs/config.yaml: tuned_for/${tuned}/${env}/${agent}
AUTO = "auto"
ANY = "any"  # stands for all agents
PACKAGE = "_global_"  # of a file's keys: they are those of a run
WORDS = (AUTO, "none")  # choices that are no settings


class TunedSource(ConfigSource):
    """Files of `tuned`, each with its own name as key `tuned`; the user's own files win.

    Hydra can pick a file by environment and agent, but can't take another one if it is not there.
    """

    user_folders: ClassVar[Sequence[str]] = ()

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider=provider, path=path)
        # A launcher copies this object to processes that have not read the command line.
        self._urls = (*self.user_folders, f"file://{config_folder()}")

    @staticmethod
    def scheme() -> str:
        """Return the scheme of this source's URL in Hydra's search path."""
        return GROUP

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the file of a name, or for a lookup a configuration that includes the file.

        Raises:
            ValueError: The file is not a file of settings.
            YAMLError: It is not YAML.
        """
        if config_path.startswith(LOOKUP):
            name = self._find(config_path.removeprefix(LOOKUP))
            config = OmegaConf.create({"defaults": [f"/{GROUP}/{name}"] if name else []})
            header: dict[str, str | None] = {"package": PACKAGE}
            return ConfigResult(self.provider, f"{self.scheme()}://", config, header)
        source = next(self._sources_of(config_path))
        name = _name(config_path)
        if name in WORDS:
            return source.load_config(config_path)
        result = _settings_in(source, config_path)
        result.config[GROUP] = name
        return result

    def available(self) -> bool:
        """Return True: this package has a folder of such files."""
        return True

    def is_group(self, config_path: str) -> bool:
        """Return True for `tuned`, the only group of this source."""
        return config_path in ("", GROUP)

    def is_config(self, config_path: str) -> bool:
        """Return True for a file of `tuned`, and for every lookup."""
        if config_path.startswith(LOOKUP):
            return True
        is_tuned = config_path.startswith(f"{GROUP}/")
        return is_tuned and any(True for _ in self._sources_of(config_path))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """Return the names of all files, those in folders of environments too."""
        if config_path == "":
            return [GROUP] if results_filter is not ObjectType.CONFIG else []
        if config_path != GROUP or results_filter is ObjectType.GROUP:
            return []
        return sorted({name for source in self._sources() for name in _names_in(source, GROUP)})

    def _find(self, lookup: str) -> str | None:
        """Return the name of the file that `auto/ENV/AGENT` means, or None."""
        word, _, pair = lookup.partition("/")
        if word != AUTO:
            return None
        names = (f"{env}/{agent}" for env, agent in _candidates(*pair.rsplit("/", 1)))
        return next((name for name in names if self.is_config(f"{GROUP}/{name}")), None)

    def _sources_of(self, config_path: str) -> Iterator[ConfigSource]:
        """Yield the sources that have a file."""
        return (source for source in self._sources() if source.is_config(config_path))

    def _sources(self) -> Iterator[ConfigSource]:
        for url in self._urls:
            scheme, _, path = url.partition("://")
            yield SourcesRegistry.instance().resolve(scheme)(self.provider, f"{scheme}://{path}")


def _settings_in(source: ConfigSource, config_path: str) -> ConfigResult:
    """Return the settings in a file, which stand at the top of a run's configuration."""
    file = f"{source.path}/{config_path.removesuffix('.yaml')}.yaml"
    try:
        result = source.load_config(config_path)
    except (UnicodeError, OSError, RecursionError) as error:
        raise ValueError(f"{file} can't be read: {one_line(error)}") from error
    if not isinstance(result.config, DictConfig):
        raise ValueError(f"{file} has no keys: write a line for each, as gamma: 0.99")
    package = result.header.get("package") or PACKAGE
    if package != PACKAGE:
        raise ValueError(
            f"{file} is for package {package}: its first line must be # @package {PACKAGE}"
        )
    return ConfigResult(result.provider, result.path, result.config, {"package": package})


def _candidates(env_id: str, agent: str) -> Iterator[tuple[str, str]]:
    """Yield the environments and agents whose settings fit, the nearest first."""
    env_id = env_id.rpartition(":")[2]  # without the module
    namespace = env_id.partition("/")[0]
    return product((env_id, namespace), (agent, ANY))


def _names_in(source: ConfigSource, group: str) -> Iterator[str]:
    """Yield the names of all files in a group, and in the folders inside it."""
    if not source.available() or not source.is_group(group):
        return
    for name in source.list(group, ObjectType.CONFIG):
        yield f"{group}/{name}".removeprefix(f"{GROUP}/")
    for folder in source.list(group, ObjectType.GROUP):
        yield from _names_in(source, f"{group}/{folder}")


def _name(config_path: str) -> str:
    return config_path.removeprefix(f"{GROUP}/").removesuffix(".yaml")
