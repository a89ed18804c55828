"""Observations of data: as an environment emits them, or encoded as a run stores them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from gymnasium import spaces

from dqn_cli.arrays import Array
from dqn_cli.data.checks import bytes_of, check_shape, flags, floats, whole_numbers
from dqn_cli.data.columns import Column, DataError
from dqn_cli.envs.env_config import observation_dtype
from dqn_cli.envs.observation_encoder import Leaf, ObservationEncoder
from dqn_cli.envs.space_adapter import restore_space

if TYPE_CHECKING:
    from dqn_cli.data.transitions import Task


def encoded_observations(file: str, columns: Mapping[str, Column], task: Task) -> Array:
    """Return single frames [rows, *frame_shape] as a run stores them.

    One column whose rows have the shape of encoded observations is taken as encoded; others are
    taken as the environment emits them after its preprocessing.

    Raises:
        DataError: They don't fit the environment's observations.
    """
    shape = task.spaces.frame_shape
    if list(columns) == [""] and columns[""].values.shape[1:] == shape:
        return _as_stored(file, columns[""], task)
    own = task.spaces.own_observations
    encoder = None
    if own is not None:
        axis = task.env.preprocess.color_axis
        encoder = ObservationEncoder(restore_space(own), task.env.drop, axis)
    if encoder is None or (encoder.is_identity and list(columns) == [""]):
        check_shape(file, next(iter(columns.values())), shape, _what(task))
    assert encoder is not None
    checked: dict[str, Array] = {}
    for leaf in encoder.leaves:
        name = leaf.part.name
        if name not in columns:
            has = [column.name for column in columns.values()]
            wanted = ".".join(filter(None, (has[0].partition(".")[0], name)))
            raise DataError(
                f"{file}: column {wanted} is missing; columns of observations are {', '.join(has)}"
            )
        checked[name] = _checked_part(file, columns[name], leaf, task)
    return encoder.encode_rows(checked).astype(observation_dtype(task.spaces, task.dtype))


def _as_stored(file: str, column: Column, task: Task) -> Array:
    """Return encoded observations with their type in a stream."""
    dtype = observation_dtype(task.spaces, task.dtype)
    if dtype == np.uint8:
        return bytes_of(file, column)
    if size := task.spaces.byte_size:
        bytes_of(file, column._replace(values=column.values[:, :size]))
    return floats(file, column, str(dtype))


def _checked_part(file: str, column: Column, leaf: Leaf, task: Task) -> Array:
    """Return a column of one part of the environment's own observations."""
    space = leaf.space
    what = f"{_what(task)} with a part {leaf.part.name}" if leaf.part.name else _what(task)
    check_shape(file, column, space.shape or (), what)
    if isinstance(space, spaces.Discrete):
        return whole_numbers(file, column, int(space.start), int(space.start + space.n - 1))
    if isinstance(space, spaces.MultiDiscrete):
        return whole_numbers(file, column, space.start, space.start + space.nvec - 1)
    if isinstance(space, spaces.MultiBinary):
        return flags(file, column).astype(np.uint8)
    if leaf.part.is_bytes:
        return bytes_of(file, column)
    return floats(file, column, task.dtype)


def _what(task: Task) -> str:
    return f"env={task.env.id} has observations of shape"
