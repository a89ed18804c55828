"""What all commands share: how they speak and end, and how words like key=value are read."""

from __future__ import annotations

import os
import shlex
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any, TextIO, cast

from dqn_cli import __version__

FULL_ERROR = "HYDRA_FULL_ERROR"
imported: list[str] = []  # the user's own modules, which other processes must import too


class _Output:
    """A stream of text; once nobody reads it any more, what is said is lost and nothing else."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            written = self._stream.write(text)
            self._stream.flush()
        except OSError:  # of a closed pipe or terminal, or a full disk
            # The stream would try what is left in it again with whatever is said later.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            return len(text)
        return written


@contextmanager
def speaking() -> Iterator[None]:
    """Hours of training don't depend on whether somebody listens."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _Output(stream)) for stream in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


@speaking()
def exit_code_of(command: Callable[[], int]) -> int:
    """Runs a command; an error becomes one last line on stderr and exit code 1."""
    wanted = os.environ.get(FULL_ERROR)
    # Hydra then raises what it would print over several lines, and the one line below says it.
    os.environ[FULL_ERROR] = "1"
    try:
        return command()
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    except SystemExit as ended:
        if ended.code == 2:
            told = "words have no dashes, as in env=CartPole-v1; see --help"
            print(f"error: unknown flag: {told}", file=sys.stderr)
        return ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException as error:
        from dqn_cli.config.errors import explain
        from dqn_cli.config.run_folders import Refused

        shown = error.__cause__ if isinstance(error, Refused) and error.__cause__ else error
        if wanted == "1":
            traceback.print_exception(shown)
        print(f"error: {explain(shown)}", file=sys.stderr)
        return 1
    finally:
        os.environ[FULL_ERROR] = wanted or "0"


def answered(arguments: Sequence[str], help_text: str) -> bool:
    """Prints help or the version if that is all that was asked for."""
    if "--version" in arguments:
        print(f"dqn-train {__version__}")
    elif "--help" in arguments or "-h" in arguments:
        print(help_text)
    else:
        return False
    return True


def refuse_flags(arguments: Sequence[str]) -> None:
    """For commands that have no flags; ends as one does of which a flag is not known."""
    if any(argument.startswith("-") for argument in arguments):
        sys.exit(2)


def next_command(command: str, word: str, env_ids: Iterable[str]) -> str:
    """What to type next, fit for a shell, with the modules that no checkpoint imports by itself."""
    of_envs = (env_id.rpartition(":")[0] for env_id in env_ids)
    modules = dict.fromkeys(filter(None, [*imported, *of_envs]))
    return shlex.join([command, word, *(f"import={module}" for module in modules)])


def split_imports(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The modules named by `import=[a,b]`, and all other arguments."""
    named = [a for a in arguments if a.startswith("import=")]
    modules = [
        module.strip(" '\"")
        for argument in named
        for module in argument.removeprefix("import=").strip("[]").split(",")
    ]
    return [module for module in modules if module], [a for a in arguments if a not in named]


def import_all(modules: Sequence[str]) -> None:
    """Imports the user's own packages, which register environments or parts."""
    if "" not in sys.path:
        sys.path.append("")  # a console script would not find a package in the working folder
    for module in modules:
        try:
            import_module(module)
        except Exception as error:  # whatever its own code raises
            name = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
            raise ImportError(f"import={module}: {name}{error}") from error
        if module not in imported:
            imported.append(module)
