"""Logger of a table: metrics.csv in the run's folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dqn_cli.loggers.logger import Log, LoggedRun, Logger
from dqn_cli.storage import write_atomically

FILE = "metrics.csv"
STEP = "step"  # the first column

Row = Mapping[str, str]


@dataclass
class Csv(Logger):
    """A column for each metric and a line for each row; a metric without a value is empty."""

    def begin(self, run: LoggedRun) -> Log:
        """Open the file; steps that a resumed run takes again are dropped."""
        return CsvLog(run.folder / FILE, run.step)


class CsvLog(Log):
    """Writer of metrics.csv; each row is on disk at once."""

    def __init__(self, path: Path, last_step: int) -> None:
        """Open a file and drop the rows of later steps."""
        self._path = path
        self._columns, rows = _read(path)
        self._rewrite(row for row in rows if int(row[STEP]) <= last_step)

    def row(self, values: Mapping[str, float], step: int) -> None:
        """Write a line; a new metric adds a column to all lines."""
        if new := [name for name in values if name not in self._columns]:
            _, rows = _read(self._path)
            self._columns += new
            self._rewrite(rows)
        line = {STEP: str(step)} | {name: repr(float(value)) for name, value in values.items()}
        with self._path.open("a", newline="") as file:
            file.write(self._text([line]))

    def _rewrite(self, rows: Iterable[Row]) -> None:
        """Write the whole file anew; a process that is killed leaves the old one."""
        text = self._text([dict(zip(self._columns, self._columns, strict=True)), *rows])
        write_atomically(self._path, lambda file: file.write(text.encode()))

    def _text(self, rows: Iterable[Row]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self._columns, restval="", lineterminator="\n").writerows(rows)
        return text.getvalue()


def _read(path: Path) -> tuple[list[str], list[Row]]:
    """Return columns and rows of a file; a line that was cut off is left out."""
    if not path.is_file():
        return [STEP], []
    whole = path.read_text().rpartition("\n")[0]
    header, *lines = csv.reader(io.StringIO(whole))
    return header, [dict(zip(header, line, strict=True)) for line in lines]
