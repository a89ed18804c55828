"""Arguments of the commands, read before Hydra sees them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

CONFIG_DIR_FLAGS = ("--config-dir", "-cd")
SEARCH_PATH = "hydra.searchpath="


def split_imports(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the modules named by `import=[a,b]`, and all other arguments."""
    imports = [argument for argument in arguments if argument.startswith("import=")]
    modules = [name for argument in imports for name in _names_in(argument)]
    return modules, [argument for argument in arguments if argument not in imports]


def without_plus(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `+experiment=NAME` spelled `experiment=NAME`.

    Hydra refuses the plus for a group that is in its defaults list.
    """
    return [re.sub(r"^\++(?=experiment=)", "", argument) for argument in arguments]


def config_folders(arguments: Sequence[str]) -> list[str]:
    """Return the URLs of the user's own YAML folders: of --config-dir, then hydra.searchpath."""
    folders = [f"file://{Path(folder).absolute()}" for folder in _config_dirs(arguments)]
    for argument in arguments:
        if argument.startswith(SEARCH_PATH):
            folders += _names_in(argument)
    return folders


def config_dir_arguments(arguments: Sequence[str]) -> list[str]:
    """Return the flags that name the user's YAML folders, in Hydra's spelling."""
    return [word for folder in _config_dirs(arguments) for word in ("--config-dir", folder)]


def _config_dirs(arguments: Sequence[str]) -> list[str]:
    folders = []
    for index, argument in enumerate(arguments):
        flag, separator, folder = argument.partition("=")
        if flag in CONFIG_DIR_FLAGS:
            folders += [folder] if separator else list(arguments[index + 1 : index + 2])
    return folders


def _names_in(argument: str) -> list[str]:
    """Return the items of `KEY=[a,b]` or `KEY=a`."""
    items = argument.partition("=")[2].strip("[]").split(",")
    return [name for item in items if (name := item.strip(" '\""))]
