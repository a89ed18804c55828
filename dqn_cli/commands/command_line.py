"""Command-line helpers of all commands: errors, exit codes, help, and the user's own modules."""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import shlex
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from typing import Any, NoReturn, TextIO, cast

from dqn_cli import __version__
from dqn_cli.commands.flags import UsageError, unknown_flag
from dqn_cli.interrupts import UserInterrupt, interrupts_marked

FULL_ERROR = "HYDRA_FULL_ERROR"
END_SECONDS = 3.0  # that threads, processes and handlers of the user's code get at the end
imported_modules: list[str] = []  # the user's own; new processes must import them too


class _TolerantStream:
    """Text stream that drops what it can no longer write."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            written = self._stream.write(text)
            self._stream.flush()
        except OSError:  # a closed pipe or terminal, or a full disk
            # Otherwise the stream would write its buffer again with the next text.
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
            return len(text)
        return written


@contextmanager
def tolerate_closed_output() -> Iterator[None]:
    """Let a command go on after its terminal or pipe is closed."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _TolerantStream(stream)) for stream in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


@tolerate_closed_output()
def run_command(command: Callable[[], int]) -> int:
    """Run a command and return its exit code; print an error as one last line on stderr."""
    if not faulthandler.is_enabled():
        with suppress(Exception):  # stderr may be closed
            faulthandler.enable()
    full_error = os.environ.get(FULL_ERROR)
    # With it Hydra raises errors instead of printing them over several lines.
    os.environ[FULL_ERROR] = "1"
    try:
        with interrupts_marked():
            return command()
    except KeyboardInterrupt as error:
        print("error: interrupted", file=sys.stderr)
        return error.exit_code if isinstance(error, UserInterrupt) else 130
    except SystemExit as error:
        if isinstance(error, UsageError):
            print(f"error: {error.message}", file=sys.stderr)
        elif error.code == 2:
            advice = "words have no dashes, as in env=CartPole-v1; see --help"
            print(f"error: unknown flag: {advice}", file=sys.stderr)
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException as error:
        from dqn_cli.config.current_command import Refused
        from dqn_cli.config.errors import explain

        cause = error.__cause__ if isinstance(error, Refused) and error.__cause__ else error
        if full_error == "1":
            traceback.print_exception(cause)
        print(f"error: {explain(cause)}", file=sys.stderr)
        return 1
    finally:
        os.environ[FULL_ERROR] = full_error or "0"


def exit_with(code: int) -> NoReturn:
    """End the process, also if an environment left threads or processes that never end."""
    threading.Thread(target=_end, args=(code,), daemon=True).start()
    sys.exit(code)


def _end(code: int) -> None:
    """End the process by force if it goes on for long."""
    # Whoever catches SystemExit may go on.
    while multiprocessing.parent_process() is None and not _is_ending(threading.main_thread()):
        time.sleep(0.1)
    time.sleep(END_SECONDS)
    for process in multiprocessing.active_children():
        with suppress(Exception):  # a process of joblib can't be killed
            process.kill()
    os._exit(code)


def _is_ending(thread: threading.Thread) -> bool:
    """Return whether the main thread has ended, or waits for others in the interpreter's end."""
    frame = sys._current_frames().get(thread.ident or 0)
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
    is_waiting = frame is None or frame.f_globals.get("__name__") == "threading"
    return is_waiting or not thread.is_alive()


def print_help_or_version(arguments: Sequence[str], help_text: Callable[[], str]) -> bool:
    """Print the help or the version and return True if the arguments ask for it."""
    if "--version" in arguments:
        print(f"dqn-train {__version__}")
    elif "--help" in arguments or "-h" in arguments:
        print(help_text())
    else:
        return False
    return True


def exit_on_flags(arguments: Sequence[str]) -> None:
    """Exit with code 2 if there is any flag; for commands without flags."""
    for argument in arguments:
        if argument.startswith("-"):
            raise unknown_flag(argument)


def shell_command(command: str, argument: str, env_ids: Iterable[str]) -> str:
    """Return a command to type next, quoted, with the user's own modules as `import=`."""
    env_modules = (env_id.rpartition(":")[0] for env_id in env_ids)
    modules = dict.fromkeys(filter(None, [*imported_modules, *env_modules]))
    # A package stands for its modules.
    named = [name for name in modules if not any(name.startswith(f"{other}.") for other in modules)]
    return shlex.join([command, argument, *(f"import={name}" for name in named)])


def note_modules(modules: Iterable[str]) -> None:
    """Note modules that a configuration names, for later commands and new processes.

    A module that can't be imported is left out; the environment that needs it says why.
    """
    for module in modules:
        with suppress(Exception):
            import_modules([module])


def import_modules(modules: Sequence[str]) -> None:
    """Import the user's own packages, which register environments or parts."""
    if "" not in sys.path:
        sys.path.append("")  # a console script would not find a package in the working folder
    for module in modules:
        try:
            import_module(module)
        except Exception as error:  # the user's code may raise anything
            name = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
            raise ImportError(f"import={module}: {name}{error}") from error
        if module not in imported_modules:
            imported_modules.append(module)
