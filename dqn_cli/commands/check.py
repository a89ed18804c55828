"""Command `dqn-check`: tell what is seen of an environment, and what to change before training."""

from __future__ import annotations

import shlex
import signal
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dqn_cli.commands.arguments import (
    config_folders,
    hydra_words,
    module_folders,
    split_config_dirs,
    split_imports,
)
from dqn_cli.commands.command_line import (
    exit_on_flags,
    exit_with,
    import_modules,
    print_help_or_version,
    run_command,
)
from dqn_cli.commands.help import CHECK
from dqn_cli.commands.setting_words import check_settings
from dqn_cli.commands.words import check_plain_words

if TYPE_CHECKING:
    from dqn_cli.training.settings import Settings

SECONDS = 5.0
TOTAL, LEAST = 8.0, 3.0  # seconds of the command by default, and of its inspection at least
NOT_TAKEN = ("resume", "checkpoint")  # words of other commands


def main() -> None:
    """Run the console script."""
    exit_with(run_command(lambda: dispatch(sys.argv[1:])))


def dispatch(arguments: Sequence[str]) -> int:
    """Print help, or check an environment; return the exit code."""
    if print_help_or_version(arguments or ["--help"], lambda: CHECK):
        return 0
    exit_on_flags(split_config_dirs(arguments)[1])
    from dqn_cli.config import registry
    from dqn_cli.config.gymnasium_source import register_source

    check_plain_words(arguments, ("env", "seconds", "import"))
    modules, words = split_imports(arguments)
    import_modules(modules)
    seconds, words = split_seconds(words)
    folders = config_folders(words) + module_folders(modules)
    register_source(folders)
    registry.register_schemas()
    check_settings(split_config_dirs(hydra_words(words))[1], False, folders)
    settings = compose_settings(split_config_dirs(words)[1])
    for kind, code in ((signal.SIGTERM, 143), (signal.SIGHUP, 129)):
        signal.signal(kind, lambda *_, code=code: sys.exit(code))
    return check(settings, arguments, seconds)


def split_seconds(words: Sequence[str]) -> tuple[float | None, list[str]]:
    """Return the value of `seconds=N` if it is typed, and all other words.

    Raises:
        ConfigError: It is not a positive number.
    """
    from dqn_cli.config.validation import ConfigError

    typed = [word.partition("=")[2] for word in words if word.startswith("seconds=")]
    others = [word for word in words if not word.startswith("seconds=")]
    if not typed:
        return None, others
    try:
        seconds = float(typed[-1])
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise ConfigError(f"seconds={typed[-1]} is not valid: it must be a number above 0")
    return seconds, others


def default_seconds() -> float:
    """Return the time for an inspection that fits into TOTAL, of which the start took a part."""
    import psutil

    age = time.time() - psutil.Process().create_time()
    return min(SECONDS, max(TOTAL - age, LEAST))


def compose_settings(words: Sequence[str]) -> Settings:
    """Return the settings that Hydra composes of words, without running or writing anything.

    Raises:
        ConfigError: No environment is named, or a setting is not valid.
    """
    from dqn_cli.config.hydra_versions import compose_config
    from dqn_cli.config.run_folders import register_resolvers
    from dqn_cli.config.validation import ConfigError, settings_from

    typed = [word for word in words if word.startswith("env=")]
    if not typed or not typed[-1].partition("=")[2]:
        raise ConfigError("env=ID is missing: name the environment to check")
    if others := [word for word in words if word.partition("=")[0] in NOT_TAKEN]:
        raise ConfigError(f"{others[0]}: dqn-check takes an environment, env=ID, and no run")
    register_resolvers()
    return settings_from(compose_config(hydra_words(words)))


def check(settings: Settings, arguments: Sequence[str], seconds: float | None) -> int:
    """Inspect the environment and print everything; return the exit code.

    Raises:
        EnvironmentFailure: Training would be wrong.
    """
    from dqn_cli.checking.advice import find_all, has_error, is_trainable, training_words, verdict
    from dqn_cli.checking.inspection import inspect_env
    from dqn_cli.commands.check_report import print_findings, print_inspection
    from dqn_cli.envs.contract import EnvironmentFailure

    seconds = default_seconds() if seconds is None else seconds
    inspection = inspect_env(settings.env, settings.dtype.name, seconds)
    found = find_all(inspection, settings)
    print_inspection(settings.env.id, inspection)
    print_findings(found, verdict(found))
    if is_trainable(found):
        words = [word for word in arguments if not word.startswith("seconds=")]
        print(f"  {shlex.join(['dqn-train', *training_words(words, found)])}", flush=True)
    if has_error(found):
        raise EnvironmentFailure(_summary(found))
    return 0


def _summary(found: Sequence[Any]) -> str:
    """Return the first error, and how many more there are."""
    errors = [finding for finding in found if finding.level.name == "error"]
    more = f" (and {len(errors) - 1} more above)" if len(errors) > 1 else ""
    return f"{errors[0].text}{more}"


if __name__ == "__main__":
    main()
