"""Columns of logged transitions, as a file has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from dqn_cli.arrays import Array

# Names of each column; the first is the one that we write.
OBSERVATIONS = ("observations", "observation", "obs")
NEXT_OBSERVATIONS = ("next_observations", "next_observation", "next_obs")
ACTIONS = ("actions", "action")
REWARDS = ("rewards", "reward")
TERMINATIONS = ("terminations", "terminated")
TRUNCATIONS = ("truncations", "truncated")
LIVES_LOST = ("life_lost",)
MASKS = ("action_masks", "action_mask")
NEXT_MASKS = ("next_action_masks", "next_action_mask")

MOST_NAMED = 20  # columns of a file in a message


class DataError(ValueError):
    """Data that can't be trained on; the message names file, column and row."""


class Column(NamedTuple):
    """Values of one column [rows, ...] and its name in the file."""

    name: str
    values: Array


class Columns(NamedTuple):
    """Columns of a file, one row for each transition, in the order in which they happened.

    Observations have a column for each part of a Dict or Tuple observation, by the part's name; the
    name is empty where the observation is one array.
    """

    file: str  # as it is named in messages
    observations: Mapping[str, Column]
    actions: Column
    rewards: Column
    terminations: Column
    truncations: Column
    next_observations: Mapping[str, Column] = {}
    lives_lost: Column | None = None
    masks: Column | None = None
    next_masks: Column | None = None
    joint_actions: bool = False  # actions are 0 to n - 1 also where the environment's own are not


def sort_columns(file: str, arrays: Mapping[str, Array]) -> Columns:
    """Return a file's columns by their meaning; columns of other names are left out.

    Raises:
        DataError: A column is missing, there twice, or has another length or shape.
    """
    found = _Found(file, arrays)
    columns = Columns(
        file,
        found.parts(OBSERVATIONS),
        found.required(ACTIONS),
        found.single(REWARDS),
        found.single(TERMINATIONS),
        found.single(TRUNCATIONS),
        found.parts(NEXT_OBSERVATIONS, required=False),
        found.single(LIVES_LOST) if found.has(LIVES_LOST) else None,
        found.optional(MASKS),
        found.optional(NEXT_MASKS),
    )
    rows = len(columns.actions.values)
    for column in found.taken:
        if len(column.values) != rows:
            raise DataError(
                f"{file}: column {column.name} has {len(column.values)} rows, and"
                f" {columns.actions.name} has {rows}"
            )
    if not rows:
        raise DataError(f"{file} has no rows")
    return columns


class _Found:
    """Search for columns by their names."""

    def __init__(self, file: str, arrays: Mapping[str, Array]) -> None:
        self._file, self._arrays = file, arrays
        self.taken: list[Column] = []

    def optional(self, names: tuple[str, ...]) -> Column | None:
        """Return the column that has one of the names, or None."""
        present = [name for name in names if name in self._arrays]
        if len(present) > 1:
            raise DataError(
                f"{self._file}: columns {' and '.join(present)} mean the same: leave one out"
            )
        return self._take(present[0]) if present else None

    def required(self, names: tuple[str, ...]) -> Column:
        """Return the column that has one of the names."""
        column = self.optional(names)
        return column if column is not None else self._missing(names)

    def single(self, names: tuple[str, ...]) -> Column:
        """Return a column of single numbers, which may have an axis of length 1 after the rows."""
        column = self.required(names)
        if column.values.shape[1:] not in ((), (1,)):
            raise DataError(
                f"{self._file}: column {column.name} has rows of shape"
                f" {list(column.values.shape[1:])}, and must have a single number in each"
            )
        return column._replace(values=column.values.reshape(-1))

    def has(self, names: tuple[str, ...]) -> bool:
        """Return whether there is a column that has one of the names."""
        return any(name in self._arrays for name in names)

    def parts(self, names: tuple[str, ...], required: bool = True) -> dict[str, Column]:
        """Return the columns of an observation by the names of its parts."""
        present = [name for name in self._arrays if name.partition(".")[0] in names]
        if not present and required:
            self._missing(names)
        is_whole = any("." not in name for name in present)
        if (is_whole and len(present) > 1) or len({x.partition(".")[0] for x in present}) > 1:
            raise DataError(
                f"{self._file}: columns {', '.join(present)} mean the same: leave one out"
            )
        return {name.partition(".")[2]: self._take(name) for name in present}

    def _take(self, name: str) -> Column:
        column = Column(name, np.asarray(self._arrays[name]))
        if not column.values.ndim:
            raise DataError(f"{self._file}: column {name} is a single value, not one for each row")
        self.taken.append(column)
        return column

    def _missing(self, names: tuple[str, ...]) -> Column:
        others = list(self._arrays)
        has = ", ".join(others[:MOST_NAMED]) or "none"
        if len(others) > MOST_NAMED:
            has += f" and {len(others) - MOST_NAMED} more"
        raise DataError(f"{self._file}: column {names[0]} is missing; its columns are {has}")
