"""Jobs of a sweep in processes of other launchers, such as joblib and submitit.

The process that waits for the jobs alone hears Ctrl-C. It asks them to stop by a file in the
sweep's folder, and each job writes its checkpoint first.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from multiprocessing import resource_tracker
from pathlib import Path
from types import FrameType

import psutil

from dqn_cli.hardware import share_cores
from dqn_cli.runs.signals import END_SIGNALS, GracefulShutdown

STOP_FILE = ".stop"  # in the sweep's folder
POLL_SECONDS = 0.3


class LauncherShutdown(GracefulShutdown):
    """Signal handlers of the process that waits for its jobs to end."""

    def __init__(self, sweep: Path) -> None:
        super().__init__()
        self._file = sweep.absolute() / STOP_FILE

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    process.kill()
        super()._handle(number, frame)
        self._file.touch()
        if number == signal.SIGINT:  # heard late, in another thread, so never the system's to end
            signal.signal(number, self._handle)


@contextmanager
def waiting_for_jobs(sweep: Path) -> Iterator[LauncherShutdown]:
    """Stop the jobs gracefully at the first signal, and at once at a second Ctrl-C."""
    (sweep / STOP_FILE).unlink(missing_ok=True)
    with LauncherShutdown(sweep) as shutdown, _interrupts_blocked():
        yield shutdown
    (sweep / STOP_FILE).unlink(missing_ok=True)


@contextmanager
def launched_job(sweep: Path) -> Iterator[GracefulShutdown]:
    """Handle signals of a job's process, and SIGTERM once the sweep's folder asks for it.

    Other jobs run beside it, so it takes the cores that the launcher gave it, or one.
    """
    share_cores()
    file, ended = sweep.absolute() / STOP_FILE, threading.Event()

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            if file.exists():
                os.kill(os.getpid(), signal.SIGTERM)
                return

    # Handlers of preemption stay those of the launcher: submitit's requeues the job.
    with GracefulShutdown(numbers=END_SIGNALS) as shutdown:
        if file.exists():
            shutdown.signal = signal.SIGTERM
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield shutdown
        finally:
            ended.set()
            watcher.join()


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Block SIGINT in new processes: Ctrl-C in a terminal reaches all, but one shall act on it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    _start_trackers()
    released = threading.Event()
    # This thread does not block SIGINT, so the main thread's handler still runs.
    threading.Thread(target=released.wait, daemon=True).start()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        released.set()
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _start_trackers() -> None:
    """Start resource trackers now, because their start would undo the mask of signals."""
    resource_tracker.ensure_running()
    with suppress(ImportError):
        import_module("joblib.externals.loky.backend.resource_tracker").ensure_running()
