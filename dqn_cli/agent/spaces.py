"""Spaces: what a network needs to know about observations and actions."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import accumulate, chain
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

PICTURE, VECTOR, ONE_HOT, BINARY = "picture", "vector", "one_hot", "binary"
BYTE = 255

Bounds: TypeAlias = tuple[float, ...]


class Part(NamedTuple):
    """One array of an observation.

    A `picture` is [height, width, colors] or [height, width]. A `one_hot` part stands for one
    choice, a `binary` part for several flags or choices. All other numbers are a `vector`, which
    may have any shape. `low` and `high` hold a bound for each element, or one for all.
    """

    name: str  # the keys that lead to it, joined by dots; empty if the observation is the array
    kind: str
    shape: tuple[int, ...]
    low: Bounds
    high: Bounds
    is_bytes: bool  # stored as bytes

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def bounds(self) -> tuple[list[float], list[float]]:
        """Lower and upper bounds, each with a number for each element."""
        low, high = (list(b) * (self.size // len(b)) for b in (self.low, self.high))
        return low, high

    @property
    def scale(self) -> float:
        """Factor that a network applies to a picture: bytes become numbers from 0 to 1."""
        return 1 / BYTE if set(self.high) == {BYTE} else 1.0

    @property
    def can_be_normalized(self) -> bool:
        """True for numbers that have no natural scale: not for flags, nor for pictures of bytes."""
        return self.kind == VECTOR or (self.kind == PICTURE and not self.is_bytes)

    @property
    def has_planes(self) -> bool:
        """True for a picture of bytes that are planes or codes instead of pixels from 0 to 255."""
        return self.kind == PICTURE and self.is_bytes and set(self.high) != {BYTE}


class Spaces(NamedTuple):
    """Observations as one array, and actions 0 to n - 1.

    The array is that of a single part, or all parts flattened one after the other: first those
    that are stored as bytes. Parts that can be normalized come last. `frames` is the length of a
    first axis of time, oldest first, and 0 if there is none. The environment's own spaces are
    described as plain data.
    """

    parts: tuple[Part, ...]
    actions: int
    frames: int = 0
    own_observations: Any = None
    own_actions: Any = None

    @property
    def frame_shape(self) -> tuple[int, ...]:
        """Shape of an observation without the axis of time."""
        if len(self.parts) == 1:
            return self.parts[0].shape
        return (sum(part.size for part in self.parts),)

    @property
    def observation_shape(self) -> tuple[int, ...]:
        """Shape of an observation."""
        return (self.frames, *self.frame_shape) if self.frames else self.frame_shape

    @property
    def observation_size(self) -> int:
        """Length of a flattened observation."""
        return math.prod(self.observation_shape)

    @property
    def byte_size(self) -> int:
        """Number of leading elements of a frame that are stored as bytes."""
        return sum(part.size for part in self.parts if part.is_bytes)

    @property
    def is_one_hot(self) -> bool:
        """True if an observation stands for one choice."""
        return len(self.parts) == 1 and self.parts[0].kind == ONE_HOT and not self.frames

    @property
    def bounds(self) -> tuple[list[float], list[float]]:
        """Lower and upper bounds, each with a number for each element."""
        low, high = all_bounds(self.parts)
        return low * max(self.frames, 1), high * max(self.frames, 1)

    @property
    def part_slices(self) -> list[slice]:
        """Slice of each part in the elements of a frame."""
        ends = list(accumulate(part.size for part in self.parts))
        return [slice(end - part.size, end) for part, end in zip(self.parts, ends, strict=True)]

    def split(self, obs: Tensor) -> tuple[Tensor, ...]:
        """Return the parts [batch, frames, size] of observations [batch, *shape].

        There is one frame if none are stacked.
        """
        rows = obs.reshape(obs.shape[0], max(self.frames, 1), -1)  # [batch, frames, elements]
        return torch.split(rows, [part.size for part in self.parts], 2)

    def fits(self, other: Spaces) -> bool:
        """Return whether a network for these spaces can be used with others."""
        mine, theirs = ([part[:3] for part in own.parts] for own in (self, other))
        return (mine, self.frames, self.actions) == (theirs, other.frames, other.actions)

    def __str__(self) -> str:
        """Return shapes and actions in words, for messages."""
        shapes = [f"{part.name} {list(part.shape)}".lstrip() for part in self.parts]
        frames = f"{self.frames} frames of " if self.frames else ""
        return f"observations {frames}{', '.join(shapes)} and {self.actions} actions"

    def plain(self) -> tuple[Any, ...]:
        """Return tuples, numbers and strings, for a checkpoint."""
        return (tuple(map(tuple, self.parts)), *self[1:])

    @classmethod
    def restore(cls, data: Any) -> Spaces:
        """Return the spaces that `plain` described."""
        parts, *others = data
        return cls(tuple(Part(*part) for part in parts), *others)


def all_bounds(parts: Iterable[Part]) -> tuple[list[float], list[float]]:
    """Return the bounds of several parts, each with a number for each element."""
    lows, highs = zip(*(part.bounds for part in parts), strict=True)
    return list(chain(*lows)), list(chain(*highs))
