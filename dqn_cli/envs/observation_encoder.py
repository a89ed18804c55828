"""Encoding of an environment's observations, which may be nested, as one array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from itertools import accumulate
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn_cli.agent.spaces import BINARY, ONE_HOT, PICTURE, VECTOR, Bounds, Part, all_bounds
from dqn_cli.arrays import Array
from dqn_cli.text import one_line

MAX_LISTED_BOUNDS = 1_000  # larger parts may share a single bound
MIN_SIDE = 5  # of a picture, pixels

Path = tuple[Any, ...]  # keys and indices that lead to a part


class Channels(Enum):
    """Axis of a picture's colors."""

    auto = "auto"
    first = "first"
    last = "last"


class Leaf(NamedTuple):
    """A space of arrays inside a nested space."""

    path: Path
    space: gymnasium.Space[Any]
    channels_first: bool
    part: Part


class ObservationEncoder:
    """Encodes observations of one space as `box`, the array that `parts` describe."""

    def __init__(
        self,
        space: gymnasium.Space[Any],
        drop: Sequence[str] = (),
        channels: Channels = Channels.auto,
    ) -> None:
        """Find the parts of the space.

        Args:
            space: The environment's own observation space.
            drop: Names of parts that are left out.
            channels: Axis of the colors of pictures.

        Raises:
            ValueError: No network reads one of the parts, or `drop` names none.
        """
        named = list(_leaves(space))
        kept = _without_dropped([(name_of(path), path, leaf) for path, leaf in named], drop)
        found = [_describe(name, path, leaf, channels) for name, path, leaf in kept]
        # Bytes are stored apart from other numbers, and normalization takes the last parts.
        self.leaves = sorted(found, key=lambda leaf: _order(leaf.part))
        self.parts = tuple(leaf.part for leaf in self.leaves)
        self.box = self._create_box()
        dtypes = [leaf.space.dtype for leaf in self.leaves if not leaf.part.is_bytes]
        self._dtype = np.result_type(np.float32, *dtypes) if dtypes else np.dtype(np.uint8)
        self._ends = list(accumulate(part.size for part in self.parts))

    @property
    def is_identity(self) -> bool:
        """True if observations are arrays that need no encoding."""
        leaf = self.leaves[0]
        is_box = not leaf.path and isinstance(leaf.space, spaces.Box)
        return is_box and leaf.part.shape == leaf.space.shape and not leaf.channels_first

    def __call__(self, observation: Any) -> Array:
        """Return one observation as an array of the shape of `box`."""
        if len(self.leaves) == 1:
            return _encode(self.leaves[0], observation)
        encoded = np.empty(self._ends[-1], self._dtype)
        start = 0
        for leaf, end in zip(self.leaves, self._ends, strict=True):
            encoded[start:end] = _encode(leaf, observation).ravel()
            start = end
        return encoded

    def encode_rows(self, columns: Mapping[str, Array]) -> Array:
        """Return observations [rows, *shape], of a column [rows, ...] for each part by its name."""
        rows = [
            np.stack([_encoded_value(leaf, value) for value in columns[leaf.part.name]])
            for leaf in self.leaves
        ]
        if len(rows) == 1:
            return rows[0]
        flat = [values.reshape(len(values), -1) for values in rows]
        return np.concatenate(flat, 1).astype(self._dtype)  # [rows, elements]

    def _create_box(self) -> spaces.Box:
        if len(self.leaves) == 1:
            leaf = self.leaves[0]
            if isinstance(leaf.space, spaces.Box):
                low, high = (_oriented(leaf, bound) for bound in (leaf.space.low, leaf.space.high))
                return spaces.Box(low, high, dtype=leaf.space.dtype.type)
            return spaces.Box(0, 1, leaf.part.shape, np.uint8)
        low, high = map(np.array, all_bounds(self.parts))
        return spaces.Box(low, high, dtype=np.float64)


def name_of(path: Path) -> str:
    """Return the name of the part that a path leads to."""
    return ".".join(map(str, path))


def find_unread_parts(space: gymnasium.Space[Any]) -> list[str]:
    """Return the names of the parts that no network reads; one without a name is the whole."""
    unread = []
    for path, leaf in _leaves(space):
        try:
            _describe("", path, leaf, Channels.auto)
        except ValueError:
            unread.append(name_of(path))
    return unread


def is_picture(shape: Sequence[int], is_bytes: bool, channels: Channels) -> bool:
    """Return whether an array of this shape is a picture, for which neighbors matter.

    Arrays with two axes are pictures if they are bytes; other numbers are more likely a table.
    """
    if len(shape) == 3:
        sides = shape[1:] if has_channels_first(shape, channels) else shape[:2]
        return min(sides) >= MIN_SIDE
    return len(shape) == 2 and is_bytes and min(shape) >= MIN_SIDE


def has_channels_first(shape: Sequence[int], channels: Channels) -> bool:
    """Return whether the colors of a picture [., ., .] are its first axis.

    Unless it is said, two equal sides are those of the picture; else colors are the shortest axis.
    """
    if channels is not Channels.auto:
        return channels is Channels.first
    first, middle, last = shape
    if (first == middle) != (middle == last):
        return middle == last
    return first < last


def _leaves(space: gymnasium.Space[Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield every space that is not a Dict or Tuple, with its path."""
    if isinstance(space, spaces.Dict):
        for key, part in space.items():
            yield from _leaves(part, (*path, key))
    elif isinstance(space, spaces.Tuple):
        for index, part in enumerate(space.spaces):
            yield from _leaves(part, (*path, index))
    else:
        yield path, space


def _without_dropped(
    named: list[tuple[str, Path, Any]], drop: Sequence[str]
) -> list[tuple[str, Path, Any]]:
    names = [name for name, _, _ in named]
    for dropped in drop:
        if not any(_is_at_or_below(name, dropped) for name in names):
            has = f"the parts are {', '.join(names)}" if any(names) else "they have no parts"
            raise ValueError(f"env.drop names {dropped}, which observations don't have: {has}")
    kept = [
        leaf for leaf in named if not any(_is_at_or_below(leaf[0], dropped) for dropped in drop)
    ]
    if not kept:
        raise ValueError("observations have no part left" if drop else "observations have no part")
    return kept


def _is_at_or_below(name: str, ancestor: str) -> bool:
    return name == ancestor or name.startswith(f"{ancestor}.")


def _describe(name: str, path: Path, space: Any, channels: Channels) -> Leaf:
    """Return the leaf of a space of arrays."""
    if isinstance(space, spaces.Discrete):
        part = Part(name, ONE_HOT, (int(space.n),), (0.0,), (1.0,), True)
    elif isinstance(space, spaces.MultiDiscrete):
        part = Part(name, BINARY, (int(space.nvec.sum()),), (0.0,), (1.0,), True)
    elif isinstance(space, spaces.MultiBinary):
        part = Part(name, BINARY, tuple(space.shape), (0.0,), (1.0,), True)
    elif isinstance(space, spaces.Box) and space.dtype.kind in "biuf" and 0 not in space.shape:
        return _describe_box(name, path, space, channels)
    else:
        where = f"part {name} of observations is" if name else "observations are"
        what = "text" if isinstance(space, spaces.Text) else one_line(space)
        hint = f": leave it out with env.drop=[{name}]" if name else ""
        raise ValueError(
            f"{where} {what}, which no network reads; a DQN needs Box, Discrete, MultiDiscrete,"
            f" MultiBinary, or a Tuple or Dict of them{hint}"
        )
    return Leaf(path, space, False, part)


def _describe_box(name: str, path: Path, space: spaces.Box, channels: Channels) -> Leaf:
    is_bytes = space.dtype in (np.uint8, np.bool_)
    picture = is_picture(space.shape, is_bytes, channels)
    is_first = picture and len(space.shape) == 3 and has_channels_first(space.shape, channels)
    low, high = (_bounds(_moved(bound, is_first)) for bound in (space.low, space.high))
    shape = space.shape[1:] + space.shape[:1] if is_first else space.shape
    kind = PICTURE if picture else VECTOR
    # No layer takes an observation without an axis.
    part = Part(name, kind, tuple(shape) or (1,), low, high, is_bytes)
    return Leaf(path, space, is_first, part)


def _order(part: Part) -> tuple[bool, bool]:
    return (not part.is_bytes, part.can_be_normalized)


def _bounds(bound: Array) -> Bounds:
    """Return a bound for each element, or a single one if a large part shares it."""
    flat = bound.astype(float).ravel()
    if flat.size > MAX_LISTED_BOUNDS and (flat == flat[0]).all():
        return (float(flat[0]),)
    return tuple(flat.tolist())


def _encode(leaf: Leaf, observation: Any) -> Array:
    """Return a leaf's part of an observation as an array of the part's shape."""
    for key in leaf.path:
        observation = observation[key]
    return _encoded_value(leaf, observation)


def _encoded_value(leaf: Leaf, observation: Any) -> Array:
    """Return the value of a leaf's space as an array of the part's shape."""
    space = leaf.space
    if isinstance(space, spaces.Box):
        return _oriented(leaf, np.asarray(observation))
    if isinstance(space, spaces.MultiBinary):
        return np.asarray(observation, np.uint8)
    one_hot = np.zeros(leaf.part.shape, np.uint8)
    if isinstance(space, spaces.Discrete):
        one_hot[int(observation) - int(space.start)] = 1
    else:
        assert isinstance(space, spaces.MultiDiscrete)
        sizes = space.nvec.ravel()
        first = sizes.cumsum() - sizes  # of each choice's elements
        one_hot[first + (np.asarray(observation) - space.start).ravel()] = 1
    return one_hot


def _oriented(leaf: Leaf, values: Array) -> Array:
    return np.atleast_1d(_moved(values, leaf.channels_first))


def _moved(values: Array, channels_first: bool) -> Array:
    return np.moveaxis(values, 0, -1) if channels_first else values
