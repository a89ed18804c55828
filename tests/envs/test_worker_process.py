from __future__ import annotations

import multiprocessing
import os
import threading
import time
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import pytest

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.processes import process_context
from dqn_cli.envs.worker_process import CLOSE, CallRecord, Poller, Service, receive, send, work

pytestmark = pytest.mark.timeout(20)


class Doubler:
    """Doubles numbers; words name what goes wrong."""

    def __init__(self, record: CallRecord, fails_at: str) -> None:
        if fails_at == "making":
            raise RuntimeError("no licence")
        self._record, self._fails_at = record, fails_at

    def handle(self, command: int) -> int:
        self._record.begin(seed=5, step=command)
        if self._fails_at == "contract":
            raise EnvironmentFailure("env=X: the reward is None")
        if self._fails_at == "handling":
            raise SystemExit(3)
        return 2 * command

    def close(self) -> None:
        if self._fails_at == "closing":
            raise ValueError("it is in use")


class Factory(NamedTuple):
    """Makes a service, as `work` asks for it."""

    fails_at: str

    def fn(self, record: CallRecord) -> Service:
        return Doubler(record, self.fails_at)


def start(fails_at: str = "") -> tuple[Any, Connection]:
    context = process_context()
    ours, theirs = context.Pipe()
    values = context.RawArray("d", CallRecord.FIELDS)
    arguments = (Factory(fails_at), theirs, values, 0, os.getpid(), [ours], None)
    process = context.Process(target=work, args=arguments)
    process.start()
    theirs.close()
    return process, ours


def end(process: Any) -> None:
    process.join(5)
    assert process.exitcode == 0


def test_commands_are_answered_until_the_worker_is_closed() -> None:
    process, connection = start()
    assert receive(connection) == (None, None)  # it was made
    for number in (3, 4):
        send(connection, number)
        assert receive(connection) == (2 * number, None)
    send(connection, CLOSE)
    end(process)


def test_a_worker_ends_when_nobody_listens() -> None:
    process, connection = start()
    assert receive(connection) == (None, None)
    connection.close()
    end(process)


@pytest.mark.parametrize(
    ("fails_at", "failure"),
    [
        ("making", "raised RuntimeError: no licence"),
        ("contract", "env=X: the reward is None"),
        ("handling", "raised SystemExit: 3"),
    ],
)
def test_a_failure_is_reported(fails_at: str, failure: str) -> None:
    process, connection = start(fails_at)
    if fails_at != "making":
        assert receive(connection) == (None, None)
        send(connection, 1)
    answer, report = receive(connection)
    assert answer is None
    assert report.startswith(failure)
    end(process)


def test_a_failure_in_closing_is_reported_as_such() -> None:
    process, connection = start("closing")
    assert receive(connection) == (None, None)
    send(connection, CLOSE)
    _, report = receive(connection)
    assert report.startswith("raised ValueError: it is in use")
    assert report.endswith("while it was closed")
    end(process)


def test_the_place_of_a_call_is_told_in_words() -> None:
    values = [0.0] * 2 * CallRecord.FIELDS
    record = CallRecord(values, number=1)
    assert record.place == "while it was made"
    record.end()
    assert record.place == "before its first reset"
    record.begin(seed=7, step=0)
    assert record.place == "in reset of the episode with seed 7"
    record.begin(seed=7, step=1_200)
    assert record.place == "in step 1,200 of the episode with seed 7"
    assert time.monotonic() - record.since < 5
    record.end()
    assert record.place == "after step 1,200 of the episode with seed 7"
    assert not any(values[: CallRecord.FIELDS])  # those of another worker


def test_a_poller_returns_those_that_can_be_read() -> None:
    pipes = [multiprocessing.Pipe() for _ in range(3)]
    poller = Poller([ours for ours, _ in pipes])
    assert poller.ready(0) == []
    send(pipes[1][1], "hello")
    pipes[2][1].close()
    assert sorted(poller.ready(0)) == [1, 2]
    assert receive(pipes[1][0]) == "hello"
    sender = threading.Timer(0.05, lambda: send(pipes[0][1], 1))
    sender.start()
    assert poller.ready(5) in ([2], [0, 2])
    sender.join()
