"""Command `dqn-train`: train one agent, or with -m a sweep."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dqn_cli.commands.arguments import (
    SWEEP_FLAGS,
    config_folders,
    hydra_words,
    module_folders,
    split_imports,
)
from dqn_cli.commands.command_line import (
    exit_with,
    import_modules,
    print_help_or_version,
    run_command,
)
from dqn_cli.commands.flags import check_flags
from dqn_cli.commands.help import train_help
from dqn_cli.commands.setting_words import check_settings
from dqn_cli.commands.words import check_plain_words
from dqn_cli.runs.signals import exit_when_preempted

if TYPE_CHECKING:
    from omegaconf import DictConfig

COMPLETION_FLAGS = ("-sc", "--shell-completion")


def main() -> None:
    """Run the console script."""
    exit_when_preempted()
    exit_with(run_command(lambda: dispatch(sys.argv[1:])))


def dispatch(arguments: Sequence[str]) -> int:
    """Print help, complete a word, resume a run, or start a run or sweep; return the exit code."""
    if print_help_or_version(arguments, lambda: _help(arguments)):
        return 0
    if any(flag in arguments for flag in COMPLETION_FLAGS):
        from dqn_cli.commands.completion import complete

        return complete(arguments)
    # Imported late: help and completion must not wait for torch.
    from dqn_cli.commands.verify import WORDS, sweep_of, verification_words, verify
    from dqn_cli.config import registry
    from dqn_cli.config.gymnasium_source import register_source

    typed = check_flags(arguments)
    check_plain_words(typed, ("resume", "import"))
    documented, verified = None, verification_words(typed)
    if verified:
        check_plain_words(typed, WORDS)
        others = [word for word in arguments if word.partition("=")[0] not in WORDS]
        documented, arguments = sweep_of(verified, others)
    modules, arguments = split_imports(hydra_words(arguments))
    import_modules(modules)
    folders = config_folders(arguments) + module_folders(modules)
    register_source(folders, modules)
    registry.register_schemas()
    words = [word for word in check_flags(arguments) if not word.startswith("resume=")]
    check_settings(words, any(flag in arguments for flag in SWEEP_FLAGS), folders)
    if documented is not None:
        return verify(verified["verify"], documented, lambda: train(arguments, modules), modules)
    resumed = [word.removeprefix("resume=") for word in arguments if word.startswith("resume=")]
    others = [word for word in arguments if not word.startswith("resume=")]
    if not resumed:
        return train(arguments, modules)
    if not resumed[-1]:
        raise ValueError("resume= is empty: name the folder of a run or sweep, or resume=auto")
    if resumed[-1] == "auto":
        return train(others, modules, continues=True)
    return resume_folder(Path(resumed[-1]), others, modules)


def resume_folder(folder: Path, overrides: Sequence[str], modules: Sequence[str]) -> int:
    """Resume a run, or a sweep with the jobs that did not begin; return the exit code."""
    from dqn_cli.commands.resume import resume
    from dqn_cli.commands.sweeps import finishing_words, unfinished_command
    from dqn_cli.config.run_folders import is_search

    words = unfinished_command(folder)
    if words is not None and is_search(folder):  # which itself knows its unfinished runs
        return train(finishing_words(folder, words, overrides), modules, continues=True)
    launcher = [word for word in overrides if word.lstrip("+").startswith("hydra.launcher.")]
    changes = [word for word in overrides if word not in launcher]
    exit_code = resume(folder, changes, modules, words is not None, launcher)
    if exit_code or words is None:
        return exit_code
    words = finishing_words(folder, words, overrides)
    return train(words, modules, continues=True, changes=changes)


def train(
    arguments: Sequence[str],
    modules: Sequence[str],
    continues: bool = False,
    changes: Sequence[str] | None = None,
) -> int:
    """Train one run, or a sweep and print its table; return the exit code.

    Args:
        arguments: The words that were typed.
        modules: The user's own modules.
        continues: True if runs that exist go on.
        changes: Overrides of a sweep that is resumed; None for a new command.
    """
    from hydra.errors import HydraException

    from dqn_cli.commands.hydra_app import run_hydra
    from dqn_cli.commands.sweeps import end_sweep
    from dqn_cli.config.current_command import Command, Sweep
    from dqn_cli.config.run_folders import register_resolvers
    from dqn_cli.runs.outcomes import Interrupted

    register_resolvers()

    def job(config: DictConfig) -> float | None:
        from dqn_cli.commands.job import run_job

        return run_job(config, modules, changes)

    succeeded = all_begun = False
    with Command.begin(arguments, modules, continues, changes):
        try:
            exit_code = run_hydra(arguments, job)
            succeeded = all_begun = True
        except Exception as error:
            if Sweep.shutdown and Sweep.shutdown.requested:
                exit_code = Sweep.shutdown.exit_code
            elif isinstance(error, Interrupted):  # in the process of a job
                exit_code = error.exit_code
            elif isinstance(error, OSError) and _is_of_file(error) and Command.folder:
                # Hydra's files in the folder, which a full disk does not name.
                raise OSError(error.errno, error.strerror, str(Command.folder)) from error
            else:
                # A job's own failure ends no sweep; one of Hydra's, before a job begins, does.
                all_begun = not isinstance(error, HydraException)
                raise
        finally:
            end_sweep(succeeded, all_begun)
    return exit_code


def _is_of_file(error: OSError) -> bool:
    """Return True for an error of the system that does not name its file."""
    return error.errno is not None and error.filename is None


def _help(arguments: Sequence[str]) -> str:
    """Return the help with the user's own parts and YAML files."""
    modules, _ = split_imports(arguments)
    import_modules(modules)
    urls = config_folders(arguments) + module_folders(modules)
    folders = [Path(url.removeprefix("file://")) for url in urls]
    if not modules:
        return train_help(folders)
    from dqn_cli.config import registry

    return train_help(folders, registry.own_choices())


if __name__ == "__main__":
    main()
