"""Arguments of the commands, read before Hydra sees them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

CONFIG_DIR_FLAGS = ("--config-dir", "-cd")
SWEEP_FLAGS = ("-m", "--multirun")
SEARCH_PATH = "hydra.searchpath="


def split_imports(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the modules named by `import=[a,b]`, and all other arguments."""
    imports = [argument for argument in arguments if argument.startswith("import=")]
    modules = [name for argument in imports for name in _names_in(argument)]
    return modules, [argument for argument in arguments if argument not in imports]


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


def without_plus(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `+experiment=NAME` spelled `experiment=NAME`.

    Hydra refuses the plus for a group that is in its defaults list.
    """
    return [re.sub(r"^\++(?=experiment=)", "", argument) for argument in arguments]


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
