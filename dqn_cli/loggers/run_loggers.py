"""All loggers of one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Lock

from dqn_cli.fields import damage_named, text
from dqn_cli.loggers.logger import Log, LoggedRun, Logger
from dqn_cli.loggers.sinks import CLOSE, Call, DirectSink, QueuedSink, Sink
from dqn_cli.storage import CheckpointError, load_json, write_json

IDS = "loggers.json"  # in the run's folder: by which a resumed run goes on in the same logs
QUIET_SECONDS = 3.0  # after which a line says what is waited for
POLL_SECONDS = 0.02
TITLES = {"tensorboard": "TensorBoard"}


class RunLoggers:
    """Loggers of one run, by the names of their choices."""

    def __init__(
        self, loggers: Mapping[str, Logger], run: LoggedRun, warn: Callable[[str], object]
    ) -> None:
        """Open all logs.

        Args:
            loggers: The loggers.
            run: The run; its `id` is that of each logger in an earlier session.
            warn: Takes a line that says which logger stopped, and why.
        """
        self._loggers, self._run = loggers, run
        self._ids, self._lock = dict[str, str](), Lock()
        try:
            self._ids = read_ids(run.folder)
        except CheckpointError as error:
            warn(f"{error}; its logs begin anew")
        self._sinks: dict[str, Sink] = {}
        for name, logger in loggers.items():
            title = TITLES.get(name, name)
            kind = DirectSink if logger.is_direct else QueuedSink
            self._sinks[name] = kind(
                partial(self._begin, name, logger), partial(_warn_of, warn, run.folder, title)
            )

    @property
    def keep_video(self) -> bool:
        """True if a logger takes a video at the end."""
        return any(logger.keeps_video for logger in self._loggers.values())

    def row(self, values: Mapping[str, float], step: int) -> None:
        """Write metrics of one environment step to all."""
        call = Call("row", (values, step))
        for sink in self._sinks.values():
            sink.send(call)

    def video(self, path: Path, step: int, only_keepers: bool = False) -> None:
        """Give a film at a step to all, or only to those that ask for one by themselves."""
        for name, sink in self._sinks.items():
            if self._loggers[name].keeps_video or not only_keepers:
                sink.send(Call("video", (path, step)))

    def close(self, summary: Mapping[str, float | str], files: Sequence[Path] = ()) -> None:
        """Let all write the outcome and files, and close; return at once."""
        for name, sink in self._sinks.items():
            logger = self._loggers[name]
            sink.send(Call("summary", (summary,)))
            for path in files if logger.keeps_files else ():
                sink.send(Call("file", (path,)))
            sink.send(CLOSE)

    def unfinished(self) -> list[str]:
        """Return the names of loggers that have not closed yet."""
        return [name for name, sink in self._sinks.items() if not sink.is_done()]

    def give_up(self, reason: str) -> None:
        """Wait for no logger any longer, and warn of each."""
        for name in self.unfinished():
            self._sinks[name].give_up(reason)

    def _begin(self, name: str, logger: Logger) -> Log:
        """Open a log, and note its id."""
        log = logger.begin(self._run._replace(id=self._ids.get(name)))
        if log.id is not None and log.id != self._ids.get(name):
            with self._lock:  # each logger may have its own thread
                self._ids[name] = log.id
                write_json(self._run.folder / IDS, self._ids)
        return log


def wait_until_closed(
    opened: Sequence[RunLoggers],
    seconds: float,
    should_stop: Callable[[], bool],
    say: Callable[[str], object],
) -> None:
    """Wait until the loggers of runs that have ended have closed, and give up those that do not.

    Args:
        opened: The loggers of each run.
        seconds: Longest time to wait.
        should_stop: Returns True once nobody shall wait any longer.
        say: Takes a line that says what is waited for.
    """
    begun, has_said = time.monotonic(), False
    while waiting := [loggers for loggers in opened if loggers.unfinished()]:
        waited = time.monotonic() - begun
        if waited > seconds or should_stop():
            break
        if waited > QUIET_SECONDS and not has_said:
            has_said = True
            say(f"waiting for logger={','.join(waiting[0].unfinished())}; Ctrl-C ends the wait")
        time.sleep(POLL_SECONDS)
    for loggers in waiting:
        loggers.give_up("the run ended before it was done")


def read_ids(folder: Path) -> dict[str, str]:
    """Return the ids of a run's logs, by logger.

    Raises:
        CheckpointError: The file is damaged.
    """
    file = folder / IDS
    if not file.is_file():
        return {}
    ids = load_json(file)
    with damage_named(file):
        return {text(name, "a name"): text(ids[name], name) for name in ids}


def _warn_of(warn: Callable[[str], object], folder: Path, title: str, reason: str) -> None:
    warn(f"{folder}: {title} rows end here: {reason}")
