"""Decoding of actions 0 to n - 1 as the environment's own actions, which may be nested."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn_cli.arrays import Array

MAX_COMBINATIONS = 10_000


class ActionDecoder:
    """Decodes actions 0 to n - 1 as actions of one space; `count` is n."""

    def __init__(self, space: gymnasium.Space[Any]) -> None:
        """Count the actions.

        Raises:
            ValueError: The actions are continuous, or have too many combinations.
        """
        self._space = space
        self._sizes = _sizes(space, space)
        self.count = math.prod(self._sizes)
        if not isinstance(space, spaces.Discrete) and self.count > MAX_COMBINATIONS:
            raise ValueError(
                f"the action space {space} has {self.count} combinations; a DQN estimates the"
                f" value of each one, and at most {MAX_COMBINATIONS} are possible"
            )

    @property
    def is_identity(self) -> bool:
        """True if the environment's own actions are 0 to n - 1."""
        return isinstance(self._space, spaces.Discrete) and int(self._space.start) == 0

    def __call__(self, index: int) -> Any:
        """Return the environment's action; combinations count the last part up first."""
        if isinstance(self._space, spaces.Discrete):
            if not 0 <= index < self.count:
                raise ValueError(f"there is no action {index} among {self.count}")
            return int(index) + int(self._space.start)
        values = [int(value) for value in np.unravel_index(index, self._sizes)]
        return _composed(self._space, values)

    @property
    def bounds(self) -> tuple[Array, Array]:
        """Lowest and highest number of each single choice of an action, [choices] each."""
        low = np.array(_starts(self._space), np.int64)
        return low, low + np.array(self._sizes) - 1

    def indices(self, numbers: Array) -> Array:
        """Return actions 0 to n - 1 [rows] of the environment's own, as numbers [rows, choices]."""
        own = (numbers - self.bounds[0]).T
        return np.asarray(np.ravel_multi_index(tuple(own), self._sizes), np.int64)

    def numbers(self, indices: Array) -> Array:
        """Return the numbers [rows, choices] of the environment's own actions; see `indices`."""
        return np.asarray(np.stack(np.unravel_index(indices, self._sizes), -1) + self.bounds[0])

    def joint_mask(self, mask: Any) -> Array:
        """Return a mask of all actions [count]; it may be given for each part of an action.

        Masks of the parts are a tuple or list, as in Gymnasium, or stand one after the other, as in
        sb3-contrib: [2 + 3] for two parts with 2 and 3 values. An action is legal if all its parts
        are. A mask of all actions is [count], or has an axis for each part. Others are returned as
        they are.

        Raises:
            ValueError: It may be either.
        """
        sizes = self._sizes
        parts: Any = mask
        if not _are_masks(mask, sizes):
            flat = np.asarray(mask)
            if len(sizes) > 1 and flat.shape == sizes:
                return flat.ravel()  # [count]
            if len(sizes) == 1 or flat.shape != (sum(sizes),):
                return flat
            if flat.shape == (self.count,):
                raise ValueError(
                    f"of {self.count} values may be of all actions or of their parts: give a list"
                    f" of masks, one for each part, or an array of shape {list(sizes)}"
                )
            parts = np.split(flat, np.cumsum(sizes)[:-1])
        joint = np.ones(1, bool)
        for part in parts:
            joint = np.multiply.outer(joint, np.asarray(part)).ravel()
        return joint


def _are_masks(value: Any, sizes: Sequence[int]) -> bool:
    """Return whether a value holds a mask for each part of an action."""
    is_sequence = isinstance(value, (tuple, list))
    return is_sequence and [np.shape(part) for part in value] == [(size,) for size in sizes]


def _sizes(space: gymnasium.Space[Any], whole: gymnasium.Space[Any]) -> tuple[int, ...]:
    """Return the number of values of each single choice in a space."""
    if isinstance(space, spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(int(n) for n in space.nvec.ravel())
    if isinstance(space, spaces.MultiBinary):
        return (2,) * math.prod(space.shape)
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts = space.values() if isinstance(space, spaces.Dict) else space.spaces
        return tuple(size for part in parts for size in _sizes(part, whole))
    raise ValueError(
        f"the action space is {whole}; a DQN needs actions that can be counted: Discrete,"
        " MultiDiscrete, MultiBinary, or a Tuple or Dict of them, not continuous ones"
    )


def _starts(space: gymnasium.Space[Any]) -> list[int]:
    """Return the lowest value of each single choice in a space."""
    if isinstance(space, spaces.Discrete):
        return [int(space.start)]
    if isinstance(space, spaces.MultiDiscrete):
        return [int(start) for start in space.start.ravel()]
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts = space.values() if isinstance(space, spaces.Dict) else space.spaces
        return [start for part in parts for start in _starts(part)]
    return [0] * math.prod(space.shape or ())


def _composed(space: gymnasium.Space[Any], values: list[int]) -> Any:
    """Return an action of a space; it takes its numbers from the front of `values`."""
    if isinstance(space, spaces.Dict):
        return {key: _composed(part, values) for key, part in space.items()}
    if isinstance(space, spaces.Tuple):
        return tuple(_composed(part, values) for part in space.spaces)
    count = math.prod(space.shape or ())
    taken = [values.pop(0) for _ in range(count)]
    numbers = np.reshape(taken, space.shape or ())  # [*shape]
    if isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)):
        numbers = numbers + space.start
    return numbers.astype(space.dtype)[()]
