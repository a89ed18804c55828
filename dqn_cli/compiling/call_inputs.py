"""Arguments of a compiled function: nested tuples of the caller, tensors in a list for the code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from torch import Tensor

from dqn_cli.arrays import Array, Values, tensor

SMALL = 2**16  # bytes of an array that is copied


class CallInputs:
    """Tensors of the fixed arguments, followed by those of the changing ones."""

    def __init__(self, fixed: tuple[Any, ...], changing: tuple[Any, ...]) -> None:
        """Take the arguments of the first call."""
        self.tensors = flatten(fixed)
        self._root = _Argument(changing, self.tensors)

    def take(self, changing: tuple[Any, ...]) -> bool:
        """Take the arguments of the next call; return false if types or shapes are others."""
        return self._root.take(changing, self.tensors)


class _Argument:
    """A tensor, an array, None, or a tuple of arguments, and its place among the inputs.

    A small array is copied into the memory of its input, which is cheaper than a new tensor. A
    tensor takes its input's place. If the same tensor comes again, or a tuple of tensors that were
    all there in the first call, there is nothing to do.
    """

    def __init__(self, value: Any, inputs: list[Tensor]) -> None:
        self._items: list[_Argument] | None = None
        self._buffer: Array | None = None
        self._nth = len(inputs)
        # What the next value is compared with; no other value is this object itself.
        self.constant: Any = self
        if isinstance(value, tuple):
            self._items = [_Argument(item, inputs) for item in value]
            if all(item is argument.constant for item, argument in self._pairs(value)):
                self.constant = value
        elif value is None:
            self.constant = None
        else:
            self._buffer = _copied(value)
            inputs.append(tensor(value if self._buffer is None else self._buffer).contiguous())
            self._remember(value, inputs[-1])

    def take(self, value: Any, inputs: list[Tensor]) -> bool:
        """Make a value the input; return false if its type or shape is not that of the first."""
        if self._items is not None:
            self.constant = self  # the items of the first tuple are about to be replaced
            for item, argument in self._pairs(value):
                if item is not argument.constant and not argument.take(item, inputs):
                    return False
            return True
        if self._buffer is not None and isinstance(value, np.ndarray):
            if value.shape != self._buffer.shape or value.dtype != self._buffer.dtype:
                return False
            self._buffer[...] = value
            return True
        if value is None or self.constant is None:
            return False
        now, before = tensor(value).contiguous(), inputs[self._nth]
        if now.dtype != before.dtype or now.shape != before.shape:
            return False
        inputs[self._nth], self._buffer = now, None
        self._remember(value, now)
        return True

    def _pairs(self, values: Any) -> Iterator[tuple[Any, _Argument]]:
        assert self._items is not None
        return zip(values, self._items, strict=True)

    def _remember(self, value: Values, now: Tensor) -> None:
        """Note a tensor that is its own input; the content of any other is copied in each call."""
        self.constant = value if value is now else self


def flatten(value: tuple[Any, ...]) -> list[Tensor]:
    """Return all tensors of nested tuples in order; arrays as tensors on the same memory."""
    return [tensor(leaf) for leaf in leaves(value)]


def nest(like: Any, tensors: Iterator[Tensor]) -> Any:
    """Return nested tuples like the given ones, with the next tensors in their places."""
    if not isinstance(like, tuple):
        return None if like is None else next(tensors)
    items = [nest(item, tensors) for item in like]
    return type(like)(*items) if hasattr(like, "_fields") else tuple(items)


def leaves(value: tuple[Any, ...]) -> list[Values]:
    """Return all tensors and arrays of nested tuples in order."""
    found: list[Values] = []
    for item in value:
        if isinstance(item, tuple):
            found += leaves(item)
        elif item is not None:
            found.append(item)
    return found


def _copied(value: Values) -> Array | None:
    """Return a copy of a small array, or None of another value."""
    small = isinstance(value, np.ndarray) and value.nbytes <= SMALL
    return np.array(value, order="C") if small else None
