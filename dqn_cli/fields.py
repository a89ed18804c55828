"""Checks of the fields of a file, each of which names the field that it refuses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dqn_cli.storage import CheckpointError
from dqn_cli.text import one_line

LARGEST = 2**53  # of whole numbers
LONGEST_TEXT = 10_000


class FieldError(ValueError):
    """A field that can't be used; the message names it."""


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Turn a FieldError inside the block into a CheckpointError that names the file."""
    try:
        yield
    except FieldError as error:
        raise CheckpointError(f"{path} is damaged: {error}") from error


def require(is_valid: bool, name: str, reason: str) -> None:
    """Raise FieldError if a field is not valid; `reason` goes on after its name."""
    if not is_valid:
        raise FieldError(one_line(f"{name} {reason}"))


def mapping(value: Any, name: str, keys: Sequence[str] = ()) -> Mapping[str, Any]:
    """Return a dict that has these keys, all of them strings."""
    is_mapping = isinstance(value, dict) and all(isinstance(key, str) for key in value)
    require(is_mapping, name, "must have named fields")
    for key in keys:
        require(key in value, f"{name}.{key}" if name else key, "is missing")
    fields: Mapping[str, Any] = value
    return fields


def items(value: Any, name: str, check: Callable[[Any, str], Any], count: int | None = None) -> Any:
    """Return a list or tuple whose items are all valid, `count` of them unless it is None."""
    require(isinstance(value, (list, tuple)), name, "must be a list")
    require(count is None or len(value) == count, name, f"has {len(value)} items, not {count}")
    for number, item in enumerate(value):
        check(item, f"{name}[{number}]")
    return value


def natural(value: Any, name: str, low: int = 0, high: int = LARGEST) -> int:
    """Return a whole number in [low, high]."""
    is_valid = type(value) is int and low <= value <= high
    limit = f" and at most {high}" if high < LARGEST else ""
    require(
        is_valid, name, f"is {_shown(value)}; it must be a whole number of at least {low}{limit}"
    )
    return int(value)


def number(value: Any, name: str, low: float = -math.inf) -> float:
    """Return a finite number of at least `low`."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    is_valid = is_number and math.isfinite(value) and value >= low
    least = f" of at least {low:g}" if low > -math.inf else ""
    require(is_valid, name, f"is {_shown(value)}; it must be a finite number{least}")
    return float(value)


def not_nan(value: Any, name: str) -> float:
    """Return a number that may be infinite, as a sum of finite ones."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    require(is_number and not math.isnan(value), name, f"is {_shown(value)}; it must be a number")
    return float(value)


def flag(value: Any, name: str) -> bool:
    """Return true or false."""
    require(isinstance(value, bool), name, f"is {_shown(value)}; it must be true or false")
    return bool(value)


def text(value: Any, name: str) -> str:
    """Return a string without control characters."""
    is_text = isinstance(value, str) and value.isprintable() and len(value) <= LONGEST_TEXT
    require(is_text, name, f"is {_shown(value)}; it must be text of one line")
    return str(value)


def plain_data(value: Any, name: str) -> Any:
    """Return text, numbers, and lists and dicts of them."""
    if isinstance(value, dict):
        for key, item in value.items():
            plain_data(item, f"{name}.{text(key, f'a key of {name}')}")
    elif isinstance(value, (list, tuple)):
        items(value, name, plain_data)
    elif isinstance(value, str):
        text(value, name)
    else:
        is_plain = value is None or isinstance(value, (bool, int, float))
        require(is_plain, name, f"is a {type(value).__name__}; it must be text or a number")
    return value


def tensor_of(value: Any, name: str, dtype: torch.dtype, shape: Sequence[int | None]) -> Tensor:
    """Return a tensor of this type and shape, where None stands for any length."""
    require(isinstance(value, Tensor), name, "must be a tensor")
    require(value.dtype is dtype, name, f"has type {value.dtype}; it must be {dtype}")
    lengths = zip(value.shape, shape, strict=False)
    fits = value.dim() == len(shape) and all(want in (None, have) for have, want in lengths)
    right = ["any" if length is None else length for length in shape]
    require(fits, name, f"has shape {list(value.shape)}; it must be {right}")
    tensor: Tensor = value
    return tensor


def finite(tensor: Tensor, name: str) -> Tensor:
    """Return a tensor of finite numbers."""
    require(bool(torch.isfinite(tensor).all()), name, "has values that are NaN or infinite")
    return tensor


def within(tensor: Tensor, name: str, low: int, high: int) -> Tensor:
    """Return a tensor of numbers in [low, high]."""
    is_valid = not tensor.numel() or bool(tensor.min() >= low and tensor.max() <= high)
    require(is_valid, name, f"has values that are not from {low} to {high}")
    return tensor


def _shown(value: Any) -> str:
    plain = value is None or isinstance(value, (bool, int, float, str))
    shown = repr(value) if plain else f"a {type(value).__name__}"
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
