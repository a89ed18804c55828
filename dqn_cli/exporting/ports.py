"""Inputs and outputs of an exported policy, which are as the environment has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from dqn_cli.agent.spaces import Part, Spaces
from dqn_cli.arrays import Array
from dqn_cli.envs.action_decoder import ActionDecoder
from dqn_cli.envs.observation_encoder import Leaf, ObservationEncoder

OBSERVATION, MASK, STATE = "observation", "action_mask", "state"
ACTION, VALUES, NEXT_STATE = "action", "q_values", "next_state"


class Port(NamedTuple):
    """One input or output; `shape` leaves out the first axis, that of the batch."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    meaning: str
    low: Sequence[float] = ()  # of each element, or one for all
    high: Sequence[float] = ()

    def described(self) -> dict[str, Any]:
        """Return plain data that JSON can hold; infinite bounds are text."""
        plain = {
            "name": self.name,
            "dtype": str(self.dtype).removeprefix("torch."),
            "shape": ["batch", *self.shape],
            "meaning": self.meaning,
        }
        if self.low:
            plain["low"], plain["high"] = (
                [bound if np.isfinite(bound) else str(bound) for bound in bounds]
                for bounds in (self.low, self.high)
            )
        return plain


class ObservationPorts:
    """One input for each part of an observation, and their encoding as the network takes it."""

    def __init__(self, encoder: ObservationEncoder, described: Spaces, dtype: torch.dtype) -> None:
        """Describe the inputs.

        Args:
            encoder: Of the environment's own space.
            described: Spaces that the network was trained on.
            dtype: Type of the network's parameters.
        """
        self._leaves, self._spaces, self._dtype = encoder.leaves, described, dtype
        self.ports = [
            _port(leaf, part, described.frames, dtype)
            for leaf, part in zip(encoder.leaves, described.parts, strict=True)
        ]

    def encoded(self, parts: Sequence[Tensor]) -> Tensor:
        """Return observations [batch, *shape], as `ObservationEncoder` would."""
        lead = 2 if self._spaces.frames else 1
        pieces = [
            _encoded(leaf, part, lead, self._dtype)
            for leaf, part in zip(self._leaves, parts, strict=True)
        ]
        if len(pieces) == 1:
            return pieces[0]
        return torch.cat([piece.flatten(lead) for piece in pieces], -1)

    def decoded(self, observations: Array) -> list[Array]:
        """Return the parts that encoded observations [batch, *shape] are made of."""
        lead = observations.shape[: 2 if self._spaces.frames else 1]
        rows = observations.reshape(*lead, -1)
        return [
            _decoded(leaf, rows[..., where], lead).astype(_numpy_dtype(port.dtype))
            for leaf, where, port in zip(
                self._leaves, self._spaces.part_slices, self.ports, strict=True
            )
        ]


class ActionPort:
    """The output of actions: numbers as the environment takes them, for actions 0 to n - 1."""

    def __init__(self, space: gymnasium.Space[Any], count: int) -> None:
        """Tabulate the numbers of each action; a Discrete space only has a first one."""
        self.table: Tensor | None = None  # [count, numbers]
        self._start, shape = 0, tuple[int, ...]()
        meaning = "the best legal action"
        if isinstance(space, spaces.Discrete):
            self._start = int(space.start)
        else:
            decode = ActionDecoder(space)
            rows = [_numbers(decode(index)) for index in range(count)]
            self.table = torch.tensor(rows, dtype=torch.int64)
            is_nested = isinstance(space, (spaces.Dict, spaces.Tuple))
            shape = (len(rows[0]),) if is_nested else tuple(space.shape or ())
            if is_nested:
                meaning += f"; its numbers one after the other, of {space}"
        self.port = Port(ACTION, torch.int64, shape, meaning)

    def decoded(self, index: Tensor, table: Tensor | None) -> Tensor:
        """Return the numbers [batch, *shape] of actions [batch]; `table` may be a copy of ours."""
        if table is None:
            return index + self._start
        return table[index].view(-1, *self.port.shape)


def example(port: Port, batch: int) -> Tensor:
    """Return values that an input may have, [batch, *shape]."""
    low = port.low[0] if port.low and np.isfinite(port.low[0]) else 0
    fill = True if port.dtype is torch.bool else low
    return torch.full((batch, *port.shape), fill, dtype=port.dtype)


def _port(leaf: Leaf, part: Part, frames: int, dtype: torch.dtype) -> Port:
    name, space = f"{OBSERVATION}.{part.name}" if part.name else OBSERVATION, leaf.space
    shape = tuple(space.shape or ())
    low: Sequence[float]
    high: Sequence[float]
    if isinstance(space, spaces.Box):
        dtype = torch.uint8 if part.is_bytes else dtype
        low, high, meaning = part.low, part.high, part.kind
        if leaf.channels_first:
            meaning += ", colors first"
            low, high = (_channels_first(bounds, part) for bounds in (low, high))
    elif isinstance(space, spaces.MultiBinary):
        dtype, low, high, meaning = torch.uint8, (0,), (1,), "flags"
    else:
        dtype, meaning = torch.int64, "choices" if shape else "a choice"
        start, count = (
            (space.start, space.n)
            if isinstance(space, spaces.Discrete)
            else (space.start.ravel(), space.nvec.ravel())  # type: ignore[attr-defined]
        )
        low = np.atleast_1d(start).tolist()
        high = np.atleast_1d(start + count - 1).tolist()
    if frames:
        meaning += f"; the latest {frames}, oldest first, and before an episode began "
        meaning += "zeros" if dtype is not torch.int64 else "one less than the lowest choice"
        shape = (frames, *shape)
    return Port(name, dtype, shape, meaning, _merged(low), _merged(high))


def _merged(bounds: Sequence[float]) -> Sequence[float]:
    """Return a single bound if all are equal."""
    return bounds[:1] if len(set(bounds)) == 1 else bounds


def _channels_first(bounds: Sequence[float], part: Part) -> Sequence[float]:
    if len(bounds) == 1:
        return bounds
    moved: list[float] = np.moveaxis(np.reshape(bounds, part.shape), -1, 0).ravel().tolist()
    return moved


def _encoded(leaf: Leaf, values: Tensor, lead: int, dtype: torch.dtype) -> Tensor:
    """Return a part as an array of the part's shape, after `lead` axes."""
    space = leaf.space
    if isinstance(space, spaces.Discrete):
        return _one_hot(values, int(space.start), int(space.n), dtype)
    if isinstance(space, spaces.MultiDiscrete):
        flat = values.flatten(lead)
        choices = zip(space.start.ravel().tolist(), space.nvec.ravel().tolist(), strict=True)
        pieces = [
            _one_hot(flat[..., index], start, count, dtype)
            for index, (start, count) in enumerate(choices)
        ]
        return torch.cat(pieces, -1)
    values = values.movedim(lead, -1) if leaf.channels_first else values
    return (values if space.shape else values.unsqueeze(-1)).to(dtype)


def _one_hot(values: Tensor, start: int, count: int, dtype: torch.dtype) -> Tensor:
    """Return [..., count]; zeros for a value that is not a choice."""
    numbers = torch.arange(start, start + count, device=values.device)
    return (values.unsqueeze(-1) == numbers).to(dtype)


def _decoded(leaf: Leaf, flat: Array, lead: tuple[int, ...]) -> Array:
    """Return the values [*lead, *shape] that were encoded as `flat` [*lead, size]."""
    space = leaf.space
    if isinstance(space, spaces.Discrete):
        return _choice(flat, int(space.start))
    if isinstance(space, spaces.MultiDiscrete):
        starts, counts = space.start.ravel().tolist(), space.nvec.ravel().tolist()
        blocks = np.split(flat, np.cumsum(counts)[:-1], -1)
        chosen = [_choice(block, start) for block, start in zip(blocks, starts, strict=True)]
        return np.stack(chosen, -1).reshape(*lead, *space.shape)
    values = flat.reshape(*lead, *leaf.part.shape)
    values = np.moveaxis(values, -1, len(lead)) if leaf.channels_first else values
    return values.reshape(*lead, *(space.shape or ()))


def _choice(one_hot: Array, start: int) -> Array:
    return np.where(one_hot.any(-1), one_hot.argmax(-1), -1) + start


def _numbers(action: Any) -> list[int]:
    """Return the whole numbers of an action, which may be nested."""
    if isinstance(action, dict):
        return [number for part in action.values() for number in _numbers(part)]
    if isinstance(action, tuple):
        return [number for part in action for number in _numbers(part)]
    numbers: list[int] = np.ravel(action).tolist()
    return numbers


def _numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    return np.dtype(str(dtype).removeprefix("torch."))
