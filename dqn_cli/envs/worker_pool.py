"""A pool of processes with an environment each, which may die or hang at any time."""

from __future__ import annotations

import os
import re
import signal
import tempfile
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import IO, Any, NamedTuple

from gymnasium.vector.utils import CloudpickleWrapper, clear_mpi_env_vars

from dqn_cli.envs.contract import EnvironmentFailure, warn_once
from dqn_cli.envs.processes import describe_end, kill_groups, process_context
from dqn_cli.envs.time_limits import CLOSE_SECONDS
from dqn_cli.envs.worker_process import (
    CLOSE,
    RAISED,
    WHILE_CLOSED,
    CallRecord,
    Poller,
    Service,
    receive,
    send,
    work,
)

POLL_SECONDS = 0.25  # a worker that hangs, or leaves its connection open, is noticed this late
picklable: Any = CloudpickleWrapper  # which is typed for environments only


class Worker(NamedTuple):
    """One process of a pool, seen from the process that uses it."""

    process: BaseProcess
    connection: Connection
    record: CallRecord
    crash_file: IO[bytes]  # to which a dying process writes where it was


ServiceFactory = Callable[[CallRecord], Service]


class WorkerPool:
    """Workers that get a command each and answer together."""

    def __init__(
        self, env_id: str, factories: Sequence[ServiceFactory], timeout: float | None = None
    ) -> None:
        """Start a process for each factory, and wait until all services are made.

        Args:
            env_id: Name of the environment, for messages.
            factories: Functions that make the services.
            timeout: Seconds that a service may take to be made, or to answer.

        Raises:
            EnvironmentFailure: A service can't be made.
        """
        self._env_id, self._timeout = env_id, timeout
        self._workers: list[Worker] = []
        self._processes: list[BaseProcess] = []
        self._ended: set[int] = set()  # of which a failure tells
        # Processes that nobody closes must not keep this one from ending.
        weakref.finalize(self, kill_groups, self._processes)
        self._sent_at = time.monotonic()
        context = process_context()
        values = context.RawArray("d", CallRecord.FIELDS * len(factories))
        try:
            with clear_mpi_env_vars():
                for number, factory in enumerate(factories):
                    self._start(context, number, factory, values)
            self._poller = Poller([worker.connection for worker in self._workers])
            self._collect()
        except BaseException:
            self.close(0)
            raise

    def call(self, commands: Sequence[Any]) -> list[Any]:
        """Give each worker its command and return the answers.

        Raises:
            EnvironmentFailure: A service failed, or a worker died or did not answer in time.
        """
        self._sent_at = time.monotonic()
        for number, command in enumerate(commands):
            try:
                send(self._workers[number].connection, command)
            except OSError:
                raise self._failure(number, self._end_of(number)) from None
        return self._collect()

    def close(self, patience: float = CLOSE_SECONDS) -> None:
        """End all processes; those that have not closed after `patience` seconds are killed."""
        workers, self._workers = self._workers, []
        try:
            for worker in workers if patience else ():
                with suppress(OSError):
                    send(worker.connection, CLOSE)
            self._wait_for_ends(workers, patience)
        finally:
            kill_groups(self._processes)
            self._processes.clear()
            for worker in workers:
                worker.connection.close()
                worker.crash_file.close()

    def _start(self, context: Any, number: int, factory: ServiceFactory, values: Any) -> None:
        connection, child_end = context.Pipe()
        crash_file = tempfile.TemporaryFile()  # noqa: SIM115  (until the pool is closed)
        is_fork = context.get_start_method() == "fork"
        parent_ends = [worker.connection for worker in self._workers] + [connection]
        process = context.Process(
            target=work,
            args=(
                picklable(factory),
                child_end,
                values,
                number,
                os.getpid(),
                # Only a fork inherits these.
                parent_ends if is_fork else [],
                crash_file.fileno() if is_fork else None,
            ),
            daemon=True,
        )
        record = CallRecord(values, number)
        self._workers.append(Worker(process, connection, record, crash_file))
        self._processes.append(process)
        process.start()
        child_end.close()

    def _collect(self) -> list[Any]:
        """Return the answer of each worker."""
        answers: list[Any] = [None] * len(self._workers)
        pending = set(range(len(self._workers)))
        while pending:
            ready = self._poller.ready(POLL_SECONDS)
            for number in ready:
                # One that does not owe an answer can only have died.
                answers[number] = self._receive(number)
                pending.discard(number)
            if not ready:
                for number in pending:
                    self._check(number)
        return answers

    def _receive(self, number: int) -> Any:
        try:
            answer, failure = receive(self._workers[number].connection)
        except (EOFError, OSError):
            raise self._failure(number, self._end_of(number)) from None
        if failure is None:
            return answer
        if failure.startswith(RAISED):
            raise self._failure(number, failure)
        raise EnvironmentFailure(f"{failure}, in worker {number}")

    def _check(self, number: int) -> None:
        """Raise an EnvironmentFailure if a worker that has not answered has died or hangs."""
        process, connection, record, _ = self._workers[number]
        if not process.is_alive() and not connection.poll():
            raise self._failure(number, self._end_of(number))
        waited = time.monotonic() - max(self._sent_at, record.since)
        if self._timeout is not None and waited > self._timeout:
            hang = f"did not answer in {self._timeout:g} s (env.timeout)"
            raise self._failure(number, f"{hang}{self._line_of_hang(number)}")

    def _end_of(self, number: int) -> str:
        """Return what became of a process that has closed its connection."""
        self._ended.add(number)
        process = self._workers[number].process
        process.join(1)
        return f"{describe_end(process.exitcode)}{self._last_line(number)}"

    def _line_of_hang(self, number: int) -> str:
        """Kill a worker that hangs, and return the line of Python where it was."""
        self._ended.add(number)
        process = self._workers[number].process
        if process.pid is not None and hasattr(signal, "SIGUSR1"):
            with suppress(OSError):
                os.kill(process.pid, signal.SIGUSR1)
                process.join(0.2)
        line = self._last_line(number)
        kill_groups([process])
        return line

    def _last_line(self, number: int) -> str:
        """Return the line of Python that a process wrote when it crashed or was asked."""
        file = self._workers[number].crash_file
        file.seek(0)
        text = file.read().decode(errors="replace")
        lines = re.findall(r'File "([^"]+)", line (\d+) in', text.partition("most recent call")[2])
        return f" ({lines[0][0]}:{lines[0][1]})" if lines else ""

    def _failure(self, number: int, what: str) -> EnvironmentFailure:
        place = self._workers[number].record.place
        return EnvironmentFailure(f"env={self._env_id}: worker {number} {what} ({place})")

    def _wait_for_ends(self, workers: Sequence[Worker], patience: float) -> None:
        """Wait until the processes have ended, and warn of those that do not close properly."""
        deadline = time.monotonic() + patience
        pending = {worker.connection: number for number, worker in enumerate(workers)}
        while pending and (left := deadline - time.monotonic()) > 0:
            for connection in wait(list(pending), min(left, POLL_SECONDS)):
                number = pending.pop(connection)  # type: ignore[call-overload]
                self._warn_of_end(number, workers[number], max(deadline - time.monotonic(), 0))
            for connection, number in list(pending.items()):
                if not workers[number].process.is_alive():
                    del pending[connection]
                    self._warn_of_end(number, workers[number], 0)
        for number in pending.values() if patience else ():
            self._warn(number, f"did not close in {patience:g} s and was killed")

    def _warn_of_end(self, number: int, worker: Worker, patience: float) -> None:
        """Wait for a process that has closed its connection, and warn if it has failed."""
        with suppress(EOFError, OSError):
            if worker.connection.poll():  # a child of the process may keep it open
                _, failure = receive(worker.connection)
                if failure is not None and failure.endswith(WHILE_CLOSED):
                    self._warn(number, failure)
        worker.process.join(patience)
        if worker.process.exitcode and number not in self._ended:
            self._warn(number, f"{describe_end(worker.process.exitcode)}{WHILE_CLOSED}")

    def _warn(self, number: int, what: str) -> None:
        warn_once(f"env={self._env_id}: worker {number} {what}")
