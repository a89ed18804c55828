"""TensorBoard event file of a run, with its hyperparameters."""

from __future__ import annotations

import os
import socket
import time
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import hparams

from dqn_cli.training.settings import Settings, plain

HPARAMS_METRIC = "eval/mean_reward"
EXCLUDED_PARTS = (
    "eval",
    "stop",
    "checkpoint",
    "log",
)  # settings that do not change what is learned


class EventFile:
    """Writer of metrics by tag; on a full disk it warns and stops writing, and the run goes on.

    Each row is written and flushed at once. Torch's SummaryWriter uses a thread instead, which
    competes with training for the interpreter lock.
    """

    def __init__(
        self,
        folder: Path,
        settings: Settings,
        purge_step: int | None,
        warn: Callable[[str], object] = warnings.warn,
    ) -> None:
        """Open a new file; TensorBoard hides rows of older files from `purge_step` on."""
        self._folder, self._warn = folder, warn
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._records = RecordWriter((folder / name).open("xb"))
        self._is_writable = True
        summaries = hparams(_hyperparameters(settings), {HPARAMS_METRIC: 0.0})  # type: ignore[no-untyped-call]
        experiment, start, self._end = summaries
        self._add(file_version="brain.Event:2")
        if purge_step is not None:
            self._add(session_log=SessionLog(status=SessionLog.START), step=purge_step)
        self._add(summary=experiment)
        self._add(summary=start)

    def write(self, row: Mapping[str, float], step: int) -> None:
        """Write metrics of one environment step."""
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in row.items()]
        self._add(summary=Summary(value=values), step=step)

    def close(self) -> None:
        """Write the end of the run and close the file."""
        self._add(summary=self._end)
        with suppress(OSError):  # the disk is full, and a warning was given
            self._records.close()

    def _add(self, **event: Any) -> None:
        if not self._is_writable:
            return
        try:
            self._records.write(Event(wall_time=time.time(), **event).SerializeToString())
            self._records.flush()
        except OSError as error:
            self._is_writable = False
            self._warn(f"{self._folder}: TensorBoard rows end here: {error}")


def _hyperparameters(settings: Settings) -> dict[str, Any]:
    """Return flat settings such as `optimizer.lr: 0.001`; lists and null become strings."""
    flat: dict[str, Any] = {}
    for key, value in plain(settings).items():
        if not isinstance(value, Mapping):
            flat[key] = value
        elif key not in EXCLUDED_PARTS:
            flat |= {f"{key}.{name}": setting for name, setting in value.items()}
    scalars = (bool, int, float, str)
    return {k: v if isinstance(v, scalars) else str(v) for k, v in flat.items() if k != "type"}
