"""TensorBoard event file of a run, with its hyperparameters."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboard.compat.proto.event_pb2 import Event, SessionLog
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.summary.writer.record_writer import RecordWriter
from torch.utils.tensorboard.summary import hparams

from dqn_cli.loggers.logger import Log


class EventFile(Log):
    """Writer of metrics by tag.

    Each row is written and flushed at once. Torch's SummaryWriter uses a thread instead, which
    competes with training for the interpreter lock.
    """

    def __init__(
        self, folder: Path, hyperparameters: Mapping[str, Any], purge_step: int | None
    ) -> None:
        """Open a new file; TensorBoard hides rows of older files from `purge_step` on."""
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._records = RecordWriter((folder / name).open("xb"))
        summaries = hparams(dict(hyperparameters), {})  # type: ignore[no-untyped-call]
        # TensorBoard lists hyperparameters in which runs differ first, unless a run has a list.
        _, start, self._end = summaries
        self._add(file_version="brain.Event:2")
        if purge_step is not None:
            self._add(session_log=SessionLog(status=SessionLog.START), step=purge_step)
        self._add(summary=start)

    def row(self, values: Mapping[str, float], step: int) -> None:
        """Write metrics of one environment step."""
        entries = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._add(summary=Summary(value=entries), step=step)

    def video(self, path: Path, step: int) -> None:
        """Write the GIF beside a film as a picture that moves."""
        from PIL import Image

        file = path.with_suffix(".gif")
        with Image.open(file) as picture:
            width, height = picture.size
        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=file.read_bytes()
        )
        self._add(summary=Summary(value=[Summary.Value(tag="film", image=image)]), step=step)

    def close(self) -> None:
        """Write the end of the run and close the file."""
        self._add(summary=self._end)
        self._records.close()

    def _add(self, **event: Any) -> None:
        self._records.write(Event(wall_time=time.time(), **event).SerializeToString())
        self._records.flush()
