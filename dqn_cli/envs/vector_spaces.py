"""Spaces of a vector environment, whose observations and actions are batches."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils import concatenate, create_empty_array

from dqn_cli.arrays import Array
from dqn_cli.envs.action_decoder import ActionDecoder
from dqn_cli.envs.contract import shorten
from dqn_cli.envs.observation_encoder import Leaf, ObservationEncoder


def encode_rows(encoder: ObservationEncoder, observations: Any) -> Array:
    """Return a batch of observations as `encoder` returns each of them, [envs, *shape].

    Raises:
        ValueError: A choice is not among those that the space declares.
    """
    parts = [_encode_rows(leaf, observations) for leaf in encoder.leaves]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([part.reshape(len(part), -1) for part in parts], 1)  # [envs, n]


class RowDecoder:
    """Decodes actions 0 to n - 1 of all copies as a batch of the environment's own actions."""

    def __init__(self, space: gymnasium.Space[Any]) -> None:
        """Decode every action once.

        Raises:
            ValueError: The actions are continuous, or have too many combinations.
        """
        decoder = ActionDecoder(space)
        self.count, self._joint_mask = decoder.count, decoder.joint_mask
        self._start, self._table = 0, None
        if isinstance(space, spaces.Discrete):
            self._start, self._dtype = int(space.start), space.dtype
        else:
            every = [decoder(index) for index in range(self.count)]
            batch: Any = create_empty_array(space, self.count)
            self._table = concatenate(space, every, batch)

    def __call__(self, actions: Array) -> Any:
        """Return the batch of actions [envs], which may be nested."""
        if self._table is None:
            return (actions + self._start).astype(self._dtype)
        return take_rows(self._table, actions)

    def joint_masks(self, masks: Any) -> Array:
        """Return masks of all actions, [envs, count]; see `ActionDecoder.joint_mask`."""
        rows = np.asarray(masks)
        if rows.ndim != 2 or self._joint_mask(rows[0]).shape == rows[0].shape:
            return rows
        return np.array([self._joint_mask(row) for row in rows])  # [envs, count]


def take_rows(batch: Any, rows: Array) -> Any:
    """Return some rows of a batch, which may be nested; `rows` has numbers or booleans."""
    if isinstance(batch, dict):
        return {key: take_rows(part, rows) for key, part in batch.items()}
    if isinstance(batch, tuple):
        return tuple(take_rows(part, rows) for part in batch)
    return np.asarray(batch)[rows]


def _encode_rows(leaf: Leaf, observations: Any) -> Array:
    """Return a leaf's part of a batch of observations, [envs, *shape]."""
    for key in leaf.path:
        observations = observations[key]
    space, rows = leaf.space, np.asarray(observations)
    if isinstance(space, spaces.Box):
        rows = np.moveaxis(rows, 1, -1) if leaf.channels_first else rows
        return rows.reshape(len(rows), *leaf.part.shape)
    if isinstance(space, spaces.MultiBinary):
        return rows.astype(np.uint8)
    one_hot = np.zeros((len(rows), *leaf.part.shape), np.uint8)
    if isinstance(space, spaces.Discrete):
        sizes, choices = np.array([space.n]), rows[:, None] - space.start
    else:
        assert isinstance(space, spaces.MultiDiscrete)
        sizes = space.nvec.ravel()
        choices = (rows - space.start).reshape(len(rows), -1)  # [envs, choices]
    if ((choices < 0) | (choices >= sizes)).any():
        raise ValueError(f"the batch of observations is {shorten(rows)}; declared is {space}")
    first = sizes.cumsum() - sizes  # of each choice's elements
    one_hot[np.arange(len(rows))[:, None], first + choices] = 1
    return one_hot
