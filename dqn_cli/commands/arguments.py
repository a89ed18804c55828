"""Arguments of the commands, read before Hydra sees them."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CONFIG_DIR_FLAGS = ("--config-dir", "-cd")
SWEEP_FLAGS = ("-m", "--multirun")
SEARCH_PATH = "hydra.searchpath="
ENV_KWARG = re.compile(r"\+{0,2}env\.kwargs\.")
WRAPPERS = re.compile(r"\+*env\.wrappers=")
MODULE_KEY = re.compile(r"['\"]?\b([\w.]+):(\w+)['\"]?\s*:")  # module:Class as a key


def split_imports(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the modules named by `import=[a,b]`, and all other arguments."""
    imports = [argument for argument in arguments if argument.startswith("import=")]
    modules = [name for argument in imports for name in _names_in(argument)]
    return modules, [argument for argument in arguments if argument not in imports]


def split_env_kwargs(arguments: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the values of `+env.kwargs.KEY=VALUE`, as Hydra reads them, and all other arguments.

    Raises:
        ValueError: A key has several values.
    """
    words = [argument for argument in arguments if ENV_KWARG.match(argument)]
    others = [argument for argument in arguments if argument not in words]
    if not words:
        return {}, others
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from omegaconf import OmegaConf

    config = OmegaConf.create({})
    for override in OverridesParser.create().parse_overrides(words):
        key = override.key_or_group.removeprefix("env.kwargs.")
        if override.is_sweep_override():
            raise ValueError(f"env.kwargs.{key} has several values; put [] around a list")
        OmegaConf.update(config, key, override.value())
    kwargs = OmegaConf.to_container(config, resolve=True)
    assert isinstance(kwargs, dict)
    return {str(key): value for key, value in kwargs.items()}, others


def split_config_dirs(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the folders named by `--config-dir`, and all other arguments."""
    folders, others, remaining = [], [], list(arguments)
    while remaining:
        argument = remaining.pop(0)
        flag, separator, folder = argument.partition("=")
        if flag not in CONFIG_DIR_FLAGS or not (separator or remaining):
            others.append(argument)
        else:
            folders.append(folder if separator else remaining.pop(0))
    return folders, others


def config_folders(arguments: Sequence[str]) -> list[str]:
    """Return the URLs of the user's own YAML folders: of --config-dir, then hydra.searchpath."""
    folders, others = split_config_dirs(arguments)
    urls = [f"file://{Path(folder).absolute()}" for folder in folders]
    search_paths = [argument for argument in others if argument.startswith(SEARCH_PATH)]
    return urls + [url for argument in search_paths for url in _names_in(argument)]


def module_folders(modules: Sequence[str]) -> list[str]:
    """Return the URLs of the folders `configs` of imported packages that have one."""
    files = [sys.modules[name].__file__ for name in modules]
    folders = [Path(file).parent / "configs" for file in files if file]
    return [f"file://{folder}" for folder in folders if folder.is_dir()]


def hydra_words(arguments: Sequence[str]) -> list[str]:
    """Return the arguments in Hydra's words.

    `+experiment=NAME` loses its plus, which Hydra refuses for a group of its defaults list, and
    `search=NAME` gets the one that Hydra wants for another. In
    `env.wrappers=[{module:Class: {KEY: VALUE}}]` the colon of a key is escaped. `data=PATH` is the
    key `data.path`.
    """
    words = [re.sub(r"^\++(?=experiment=)", "", argument) for argument in arguments]
    words = [re.sub(r"^(?=search=)", "+", word) for word in words]
    words = [re.sub(r"^\+*data=", "data.path=", word) for word in words]
    return [MODULE_KEY.sub(r"\1\\:\2:", word) if WRAPPERS.match(word) else word for word in words]


def flags_first(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with -m and --config-dir in front; Hydra wants its words together."""
    folders, others = split_config_dirs(arguments)
    flags = [argument for argument in others if argument in SWEEP_FLAGS]
    for folder in folders:
        flags += ["--config-dir", folder]
    return flags + [argument for argument in others if argument not in SWEEP_FLAGS]


def _names_in(argument: str) -> list[str]:
    """Return the items of `KEY=[a,b]` or `KEY=a`."""
    items = argument.partition("=")[2].strip("[]").split(",")
    return [name for item in items if (name := item.strip(" '\""))]
