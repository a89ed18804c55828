from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pytest
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c
from tensorboard.summary.writer.record_writer import RecordWriter

from dqn_cli.evaluation.event_records import LARGEST_FILE, load_events


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """An event file with three rows."""
    path = tmp_path / "events.out.tfevents.1"
    with path.open("wb") as file:
        records = RecordWriter(file)
        records.write(Event(wall_time=1.0, file_version="brain.Event:2").SerializeToString())
        for step in range(3):
            values = [Summary.Value(tag="loss", simple_value=step)]
            event = Event(wall_time=1.0, step=step, summary=Summary(value=values))
            records.write(event.SerializeToString())
        records.flush()
    return path


def steps(path: Path) -> list[int]:
    return [event.step for event in load_events(path).Scalars("loss")]


def record(length: int, body: bytes = b"") -> bytes:
    """A record as it is written, whose length and checksums are right."""
    header = struct.pack("<Q", length)
    checksums = [struct.pack("<I", masked_crc32c(part)) for part in (header, body)]
    return header + checksums[0] + body + checksums[1]


def test_what_was_written_is_read(written: Path) -> None:
    assert steps(written) == [0, 1, 2]


def test_a_row_that_was_being_written_is_left_out(written: Path) -> None:
    os.truncate(written, written.stat().st_size - 5)
    assert steps(written) == [0, 1]


@pytest.mark.parametrize(
    "tail",
    [record(2**40), record(2**33, bytes(100)), bytes(64), record(100, b"\xff" * 100)],
    ids=["length", "long", "zeros", "no event"],
)
def test_a_damaged_file_is_refused_in_one_line(written: Path, tail: bytes) -> None:
    written.write_bytes(written.read_bytes() + tail)
    with pytest.raises(ValueError, match=r"^.*tfevents.1 is damaged.*$"):
        load_events(written)


def test_a_huge_file_is_refused_at_once(written: Path) -> None:
    os.truncate(written, 10 * LARGEST_FILE)  # it takes no space
    start = time.monotonic()
    with pytest.raises(ValueError, match="at most 1,073,741,824 are read"):
        load_events(written)
    assert time.monotonic() - start < 5


def test_something_else_by_that_name_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "events.pipe")  # to read it would wait for ever
    with pytest.raises(ValueError, match=r"events.pipe is no file"):
        load_events(tmp_path / "events.pipe")
