"""TensorBoard: one event file in the run's folder, hyperparameters included."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from dqn_cli.training.settings import Settings, plain

METRIC = "eval/mean_reward"
BOOKKEEPING = ("eval", "checkpoint", "log")


class EventFile:
    """Rows of metrics, by tag; a disk that fills up costs the rows, never the run."""

    def __init__(self, folder: Path, settings: Settings, purge_step: int | None) -> None:
        """Opens a new file; after a resume, TensorBoard hides older rows from `purge_step` on."""
        self._writer = SummaryWriter(str(folder), purge_step=purge_step)
        self._works = True
        summaries = hparams(_hyperparameters(settings), {METRIC: 0.0})  # type: ignore[no-untyped-call]
        experiment, start, self._end = summaries
        file = self._writer.file_writer
        assert file is not None
        file.add_summary(experiment)
        file.add_summary(start)

    def write(self, row: Mapping[str, float], step: int) -> None:
        """One row at one environment step."""
        if not self._works:
            return
        try:
            for tag, value in row.items():
                self._writer.add_scalar(tag, value, step)
        except OSError as error:
            self._works = False
            warnings.warn(f"TensorBoard rows end here: {error}", stacklevel=2)

    def close(self) -> None:
        """Writes what is buffered, and that the run is over."""
        try:
            if self._works and self._writer.file_writer is not None:
                self._writer.file_writer.add_summary(self._end)
            self._writer.close()
        except OSError as error:
            warnings.warn(f"TensorBoard rows may be incomplete: {error}", stacklevel=2)


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
