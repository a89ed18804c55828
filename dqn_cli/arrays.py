"""Types and functions for NumPy arrays and tensors alike."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array: TypeAlias = NDArray[Any]
# NumPy arrays or tensors; all values in one call are of the same kind. Small operations are faster
# on arrays, and only tensors can be compiled.
Values: TypeAlias = Any


def array_namespace(values: Values) -> Any:
    """Return numpy for arrays and torch for tensors; both have `where`, `arange` and `ones`."""
    return torch if isinstance(values, Tensor) else np


def cast(values: Values, dtype: Any) -> Values:
    """Convert values to `dtype`, which is a name in both libraries or the dtype of such values."""
    if isinstance(values, Tensor):
        return values.to(getattr(torch, dtype) if isinstance(dtype, str) else dtype)
    return values.astype(dtype, copy=False)


def first_above(sums: Values, rest: Values) -> Values:
    """Return the index of the first of each row's sums above `rest`.

    Args:
        sums: Ascending sums [rows, n]; the result is undefined if none is above `rest`.
        rest: One threshold for each row, [rows].
    """
    if isinstance(sums, Tensor):
        return (sums[:, :-1] <= rest[:, None]).sum(1)
    return (sums > rest[:, None]).argmax(1)


def searched(sums: Values, rest: Values) -> Values:
    """Return the indices of the first of each row's sums above several thresholds.

    Args:
        sums: Ascending sums [rows, many].
        rest: Thresholds [rows, n].
    """
    if isinstance(sums, Tensor):
        return torch.searchsorted(sums, rest, right=True)
    pairs = zip(sums, rest, strict=True)
    return np.array([row.searchsorted(thresholds, "right") for row, thresholds in pairs])


def tensor(values: Values) -> Tensor:
    """Return values as a tensor that shares their memory."""
    return values if isinstance(values, Tensor) else torch.from_numpy(values)
