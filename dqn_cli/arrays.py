"""Types and words for arrays of numbers, which stand at the bottom of everything."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array: TypeAlias = NDArray[Any]
# NumPy arrays or tensors, all of one call of the same kind: a few small operations are done sooner
# on arrays, and only tensors can be compiled.
Values: TypeAlias = Any


def library(values: Values) -> Any:
    """NumPy or torch, whichever these are of; both have `where`, `arange`, `ones`."""
    return torch if isinstance(values, Tensor) else np


def cast(values: Values, dtype: Any) -> Values:
    """The values as `dtype`: a name that NumPy and torch share, or the dtype of other values."""
    if isinstance(values, Tensor):
        return values.to(getattr(torch, dtype) if isinstance(dtype, str) else dtype)
    return values.astype(dtype, copy=False)


def first_above(sums: Values, rest: Values) -> Values:
    """Which of rising `sums` [rows, few] is the first above `rest` [rows]; any where none is."""
    if isinstance(sums, Tensor):
        return (sums[:, :-1] <= rest[:, None]).sum(1)  # in machine code soonest
    return (sums > rest[:, None]).argmax(1)


def searched(sums: Values, rest: Values) -> Values:
    """Which of rising `sums` [rows, many] is the first above each `rest` [rows, n]."""
    if isinstance(sums, Tensor):
        return torch.searchsorted(sums, rest, right=True)
    return np.array([row.searchsorted(each, "right") for row, each in zip(sums, rest, strict=True)])


def tensor(values: Values) -> Tensor:
    """The values as a tensor, on the same memory."""
    return values if isinstance(values, Tensor) else torch.from_numpy(values)
