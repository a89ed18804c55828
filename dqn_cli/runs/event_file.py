"""TensorBoard: one event file in the run's folder, hyperparameters included."""

from __future__ import annotations

import os
import socket
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import hparams

from dqn_cli.training.settings import Settings, plain

METRIC = "eval/mean_reward"
BOOKKEEPING = ("eval", "checkpoint", "log")


class EventFile:
    """Rows of metrics, by tag; a disk that fills up costs the rows, never the run.

    Torch's writer has a thread, which for each row keeps the training waiting for the interpreter
    as long as a hundred steps of a small network take. Here a row is in the file when it is given.
    """

    def __init__(self, folder: Path, settings: Settings, purge_step: int | None) -> None:
        """Opens a new file; after a resume, TensorBoard hides older rows from `purge_step` on."""
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._records = RecordWriter((folder / name).open("xb"))
        self._works = True
        summaries = hparams(_hyperparameters(settings), {METRIC: 0.0})  # type: ignore[no-untyped-call]
        experiment, start, self._end = summaries
        self._add(file_version="brain.Event:2")
        if purge_step is not None:
            self._add(session_log=SessionLog(status=SessionLog.START), step=purge_step)
        self._add(summary=experiment)
        self._add(summary=start)

    def write(self, row: Mapping[str, float], step: int) -> None:
        """One row at one environment step."""
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in row.items()]
        self._add(summary=Summary(value=values), step=step)

    def close(self) -> None:
        """Writes that the run is over."""
        self._add(summary=self._end)
        with suppress(OSError):  # of what a full disk did not take, which was told
            self._records.close()

    def _add(self, **event: Any) -> None:
        if not self._works:
            return
        try:
            self._records.write(Event(wall_time=time.time(), **event).SerializeToString())
            self._records.flush()
        except OSError as error:
            self._works = False
            warnings.warn(f"TensorBoard rows end here: {error}", stacklevel=3)


def _hyperparameters(settings: Settings) -> dict[str, Any]:
    """What may explain a result, as `optimizer.lr: 0.001`; lists and null become text."""
    flat: dict[str, Any] = {}
    for key, value in plain(settings).items():
        if not isinstance(value, Mapping):
            flat[key] = value
        elif key not in BOOKKEEPING:
            flat |= {f"{key}.{name}": setting for name, setting in value.items()}
    plain_types = (bool, int, float, str)
    return {k: v if isinstance(v, plain_types) else str(v) for k, v in flat.items() if k != "type"}
