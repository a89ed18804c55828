"""Loading of the data that a run learns from."""

from __future__ import annotations

from typing import Any, NamedTuple

from dqn_cli.data.files import digest, read_columns
from dqn_cli.data.transitions import Task, transitions_of
from dqn_cli.replay.logged import Transitions


class DataSummary(NamedTuple):
    """What a run was given: where from, its checksum, and how much it is."""

    path: str
    sha256: str
    transitions: int
    episodes: int
    mean_return: float  # undiscounted

    def plain(self) -> dict[str, Any]:
        """Return plain data for result.json and checkpoints."""
        return self._asdict()


class LoadedData(NamedTuple):
    """Logged transitions that fit an environment."""

    transitions: Transitions
    summary: DataSummary


def load_data(path: str, task: Task) -> LoadedData:
    """Read data, check that they fit an environment, and return them with a summary.

    Raises:
        DataError: They don't fit, or can't be read.
    """
    data = transitions_of(read_columns(path), task)
    mean_return = float(data.returns.mean())
    summary = DataSummary(path, digest(path), data.rows, data.episodes, mean_return)
    return LoadedData(data, summary)
