"""dqn-train: trains one agent, or with -m a whole sweep of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dqn_cli.commands.command_line import answered, exit_code_of, import_all, split_imports
from dqn_cli.commands.help import TRAIN

if TYPE_CHECKING:
    from omegaconf import DictConfig

SWEEP_FLAGS = ("-m", "--multirun")
COMPLETION_FLAGS = ("-sc", "--shell-completion")


def main() -> None:
    """The console script."""
    sys.exit(exit_code_of(lambda: dispatch(sys.argv[1:])))


def dispatch(arguments: Sequence[str]) -> int:
    """Help, completion, a resumed run, or a new run or sweep."""
    if answered(arguments, TRAIN):
        return 0
    # Imported here, so that help is there at once.
    from dqn_cli.config import registry
    from dqn_cli.config.gymnasium_source import register_source

    register_source()
    if any(flag in arguments for flag in COMPLETION_FLAGS):
        registry.register_untyped()
        return run_hydra(arguments, lambda config: None)
    modules, arguments = split_imports(arguments)
    import_all(modules)
    registry.register_schemas()
    resumed = [a.removeprefix("resume=") for a in arguments if a.startswith("resume=")]
    if resumed:
        from dqn_cli.commands.resume import resume

        others = [a for a in arguments if not a.startswith("resume=")]
        return resume(Path(resumed[-1]), others, modules)
    return train(arguments, modules)


def train(arguments: Sequence[str], modules: Sequence[str]) -> int:
    """One run, or a sweep and its table."""
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


def run_hydra(arguments: Sequence[str], job: Callable[[Any], Any]) -> int:
    """Lets Hydra compose the configuration and call `job` with it, once or for each of a sweep."""
    import hydra

    from dqn_cli.config.paths import config_folder

    # Hydra's parser wants flags in one place; people type -m anywhere.
    sweeps = [argument for argument in arguments if argument in SWEEP_FLAGS]
    sys.argv[1:] = [*sweeps, *(a for a in arguments if a not in SWEEP_FLAGS)]
    hydra.main(config_path=str(config_folder()), config_name="config", version_base="1.3")(job)()
    return 0


if __name__ == "__main__":
    main()
