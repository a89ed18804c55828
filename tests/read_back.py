"""What event files and trackers hold of a run, by tag and step."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

Rows = dict[tuple[str, int], float]
BLOCK, HEADER, FILE_HEADER = 2**15, struct.Struct("<IHB"), 7  # of wandb's files, as LevelDB's logs


def of_events(run: Path) -> Rows:
    events: Any = EventAccumulator(str(run), size_guidance={"scalars": 0}).Reload()
    tags = events.Tags()["scalars"]
    return {(tag, event.step): event.value for tag in tags for event in events.Scalars(tag)}


def of_wandb(run: Path) -> Rows:
    from wandb.proto.wandb_internal_pb2 import Record

    rows: Rows = {}
    for file in sorted(run.glob("wandb/offline-run-*/*.wandb")):
        for data in _records(file.read_bytes()):
            record = Record.FromString(data)
            if record.WhichOneof("record_type") == "history":
                values = {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }
                step = int(values["_step"])
                rows |= {(k, step): v for k, v in values.items() if not k.startswith("_")}
    return rows


def _records(data: bytes) -> Iterator[bytes]:
    """Yields the records of a log, whose parts may be in several blocks."""
    position, record = FILE_HEADER, b""
    while position + HEADER.size <= len(data):
        left = BLOCK - position % BLOCK
        if left < HEADER.size:
            position += left
            continue
        _, length, kind = HEADER.unpack_from(data, position)
        position += HEADER.size + length
        record += data[position - length : position]
        if kind in (1, 4):  # whole, or a last part
            yield record
            record = b""


def of_trackio(project: str, name: str) -> Rows:
    from trackio.sqlite_storage import SQLiteStorage

    logs = SQLiteStorage.get_logs(project, name)
    is_own = ("step", "timestamp")
    return {
        (key, row["step"]): value
        for row in logs
        for key, value in row.items()
        if key not in is_own and not key.startswith("summary/")
    }


def of_mlflow(uri: str, run_id: str) -> Rows:
    import mlflow

    client = mlflow.MlflowClient(uri)
    keys = client.get_run(run_id).data.metrics
    return {
        (key, metric.step): metric.value
        for key in keys
        if not key.startswith("summary/")
        for metric in client.get_metric_history(run_id, key)
    }
