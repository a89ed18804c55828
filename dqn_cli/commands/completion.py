"""Completion of words in the shell: Hydra's, with the user's own parts and YAML files."""

from __future__ import annotations

import io
import os
import re
import shlex
from collections.abc import Sequence
from contextlib import redirect_stdout

from dqn_cli.commands.arguments import (
    config_folders,
    hydra_words,
    split_config_dirs,
    split_imports,
)
from dqn_cli.commands.command_line import import_modules

COMMAND_LINE = "COMP_LINE"  # where the shell puts the line to complete


def complete(arguments: Sequence[str]) -> int:
    """Print the completions of the shell's command line, or the script that installs them."""
    from dqn_cli.commands.hydra_app import run_hydra
    from dqn_cli.config import registry
    from dqn_cli.config.gymnasium_source import register_source

    line = os.environ.get(COMMAND_LINE, "")
    typed = words_of(line)
    if COMMAND_LINE in os.environ:
        os.environ[COMMAND_LINE] = without_own_words(line)
    import_modules(split_imports(typed)[0])
    register_source(config_folders(typed))
    registry.register_untyped()
    config_dirs = [f"--config-dir={folder}" for folder in split_config_dirs(typed)[0]]
    with redirect_stdout(io.StringIO()) as output:
        run_hydra([*arguments, *config_dirs], lambda config: None)
    print(without_bases(output.getvalue()), end="")
    return 0


def words_of(line: str) -> list[str]:
    """Return the finished words of a command line, the last one left out if it is unfinished."""
    finished = line if line.endswith(" ") else line.rpartition(" ")[0]
    try:
        return shlex.split(finished)
    except ValueError:  # a quotation is still open
        return finished.split()


def without_own_words(line: str) -> str:
    """Return the line without the finished words that Hydra does not know."""
    head, space, last = line.rpartition(" ")
    words = hydra_words(head.split())
    return " ".join(word for word in words if not word.startswith("import=")) + space + last


def without_bases(completions: str) -> str:
    """Return the completions without the `base_*` files and schemas that choices share."""
    return re.sub(r"(?<!\S)[+~]?[\w/]+=(?:[\w-]+/)*base_\w*[ \n]?", "", completions)
