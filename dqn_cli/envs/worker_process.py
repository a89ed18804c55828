"""The process of one worker: it makes an environment and answers commands."""

from __future__ import annotations

import faulthandler
import pickle
import select
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import Any, Protocol

from dqn_cli.envs.contract import EnvironmentFailure, describe_error, describe_place
from dqn_cli.envs.processes import isolate_process

MAKING, IN_CALL, IDLE = range(3)  # states of a worker
CLOSE = "close"  # a command
RAISED = "raised "  # begins the report of an error that no contract has described
WHILE_CLOSED = " while it was closed"  # ends the report of an error in closing


class Poller:
    """Connections that are asked again and again which of them has something to read."""

    def __init__(self, connections: Sequence[Connection]) -> None:
        self._connections = list(connections)
        self._numbers = {connection.fileno(): n for n, connection in enumerate(connections)}
        self._poll = select.poll() if hasattr(select, "poll") else None
        if self._poll is not None:
            for descriptor in self._numbers:
                self._poll.register(descriptor, select.POLLIN)

    def ready(self, seconds: float) -> list[int]:
        """Wait and return the numbers of those that can be read, or whose other end is closed."""
        if self._poll is None:  # on Windows
            ready = wait(self._connections, seconds)
            return [n for n, connection in enumerate(self._connections) if connection in ready]
        return [self._numbers[descriptor] for descriptor, _ in self._poll.poll(seconds * 1_000)]


def send(connection: Connection, value: Any) -> None:
    """Send a value; Connection.send takes several times as long for a small one."""
    connection.send_bytes(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))


def receive(connection: Connection) -> Any:
    """Return the next value that was sent."""
    return pickle.loads(connection.recv_bytes())


class Service(Protocol):
    """Work of a worker; it is made and used in the worker's process."""

    def handle(self, command: Any) -> Any:
        """Return the answer to a command."""

    def close(self) -> None:
        """Release everything."""


class CallRecord:
    """Place that a worker has come to, in memory that both processes share."""

    FIELDS = 4

    def __init__(self, values: Any, number: int) -> None:
        """Use the fields of worker `number` in the shared memory of all workers."""
        self._values, self._first = values, self.FIELDS * number

    def begin(self, seed: int, step: int) -> None:
        """Note that a call begins: a reset with a seed, or a step of the episode with that seed."""
        values, first = self._values, self._first
        values[first + 1], values[first + 2], values[first + 3] = time.monotonic(), seed, step
        values[first] = IN_CALL

    def end(self) -> None:
        """Note that the worker waits for a command."""
        self._values[self._first] = IDLE

    @property
    def since(self) -> float:
        """Time at which the call began."""
        return float(self._values[self._first + 1])

    @property
    def place(self) -> str:
        """Place of the latest call, in words."""
        state, since, seed, step = self._values[self._first : self._first + self.FIELDS]
        if state == MAKING:
            return "while it was made"
        if not since:
            return "before its first reset"
        place = describe_place(int(step), int(seed))
        return place if state == IN_CALL else place.replace("in", "after", 1)


def work(
    factory: Any,
    connection: Connection,
    values: Any,
    number: int,
    parent: int,
    parent_ends: Sequence[Connection],
    crash_file: int | None,
) -> None:
    """Answer commands until the connection or the parent's process ends."""
    for parent_end in parent_ends:
        parent_end.close()
    isolate_process(parent)
    # Ctrl-C reaches every process of a terminal; the run decides when its environments stop.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)
    faulthandler.disable()
    if crash_file is not None:
        faulthandler.enable(crash_file, all_threads=False)
        faulthandler.register(signal.SIGUSR1, crash_file, all_threads=False)
    record = CallRecord(values, number)
    service: Service | None = None
    try:
        service = factory.fn(record)
        record.end()
        send(connection, (None, None))
        while (command := _next_command(connection)) != CLOSE:
            answer = service.handle(command)
            record.end()
            send(connection, (answer, None))
    except EnvironmentFailure as failure:
        _report(connection, str(failure))
    except BaseException as error:  # an environment may even raise SystemExit
        _report(connection, f"{RAISED}{describe_error(error)}")
    if service is None:
        return
    try:
        service.close()
    except BaseException as error:
        _report(connection, f"{RAISED}{describe_error(error)}{WHILE_CLOSED}")


def _next_command(connection: Connection) -> Any:
    try:
        return receive(connection)
    except (EOFError, OSError):  # the other process has ended
        return CLOSE


def _report(connection: Connection, failure: str) -> None:
    with suppress(OSError):
        send(connection, (None, failure))
