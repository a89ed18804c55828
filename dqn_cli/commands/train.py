"""Command `dqn-train`: train one agent, or with -m a sweep."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dqn_cli.commands.arguments import config_folders, hydra_words, split_imports
from dqn_cli.commands.command_line import import_modules, print_help_or_version, run_command
from dqn_cli.commands.help import train_help

if TYPE_CHECKING:
    from omegaconf import DictConfig

COMPLETION_FLAGS = ("-sc", "--shell-completion")


def main() -> None:
    """Run the console script."""
    sys.exit(run_command(lambda: dispatch(sys.argv[1:])))


def dispatch(arguments: Sequence[str]) -> int:
    """Print help, complete a word, resume a run, or start a run or sweep; return the exit code."""
    if print_help_or_version(arguments, lambda: _help(arguments)):
        return 0
    if any(flag in arguments for flag in COMPLETION_FLAGS):
        from dqn_cli.commands.completion import complete

        return complete(arguments)
    # Imported late: help and completion must not wait for torch.
    from dqn_cli.config import registry
    from dqn_cli.config.gymnasium_source import register_source

    modules, arguments = split_imports(hydra_words(arguments))
    import_modules(modules)
    register_source(config_folders(arguments))
    registry.register_schemas()
    resumed = [word.removeprefix("resume=") for word in arguments if word.startswith("resume=")]
    if resumed:
        from dqn_cli.commands.resume import resume

        overrides = [word for word in arguments if not word.startswith("resume=")]
        return resume(Path(resumed[-1]), overrides, modules)
    return train(arguments, modules)


def train(arguments: Sequence[str], modules: Sequence[str]) -> int:
    """Train one run, or a sweep and print its table; return the exit code."""
    from dqn_cli.commands.hydra_app import run_hydra
    from dqn_cli.commands.sweep_tables import report_sweep
    from dqn_cli.config.run_folders import Sweep, register_resolvers

    register_resolvers()

    def job(config: DictConfig) -> float | None:
        from dqn_cli.commands.job import run_job

        return run_job(config, modules)

    try:
        return run_hydra(arguments, job)
    finally:
        if Sweep.folder is not None:
            report_sweep(Sweep.folder)


def _help(arguments: Sequence[str]) -> str:
    """Return the help with the user's own parts and YAML files."""
    folders = [Path(url.removeprefix("file://")) for url in config_folders(arguments)]
    modules, _ = split_imports(arguments)
    if not modules:
        return train_help(folders)
    from dqn_cli.config import registry

    import_modules(modules)
    return train_help(folders, registry.own_choices())


if __name__ == "__main__":
    main()
