"""Checks of single columns; each names the file, the column and the first wrong row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.data.columns import Column, DataError

LARGEST_BYTE = 255


def require_rows(is_valid: Array, file: str, column: Column, reason: str) -> None:
    """Raise DataError at the first row that is not valid.

    Args:
        is_valid: Whether each element is, [rows, ...].
        file: The file's name.
        column: The column.
        reason: What is wrong, printed after the value; what would be right.
    """
    valid_rows = is_valid.reshape(len(is_valid), -1).all(1)
    if valid_rows.all():
        return
    row = int(np.argmin(valid_rows))
    shown = column.values[row]
    if np.shape(shown) == is_valid.shape[1:]:
        shown = np.atleast_1d(shown)[~np.atleast_1d(is_valid[row])][0]
    raise DataError(f"{file}: column {column.name}, row {row}: {shown} {reason}")


def check_shape(file: str, column: Column, shape: Sequence[int], what: str) -> None:
    """Check that each row has a shape."""
    own = list(column.values.shape[1:])
    if own != list(shape):
        raise DataError(
            f"{file}: column {column.name} has rows of shape {own}, and {what} {list(shape)}"
        )


def numbers(file: str, column: Column) -> Array:
    """Return the values of a column of finite numbers."""
    values = column.values
    if values.dtype.kind not in "biuf":
        raise DataError(f"{file}: column {column.name} has type {values.dtype}, not numbers")
    if values.dtype.kind == "f":
        require_rows(np.isfinite(values), file, column, "is not a finite number")
    return values


def whole_numbers(file: str, column: Column, low: Array | int, high: Array | int) -> Array:
    """Return the whole numbers of a column, from `low` to `high`, as int64."""
    values = numbers(file, column)
    is_valid = (values >= low) & (values <= high) & (values == np.floor(values))
    is_one = np.size(low) == 1 and np.size(high) == 1
    right = f" from {np.min(low)} to {np.max(high)}" if is_one else " in its range"
    require_rows(is_valid, file, column, f"is not a whole number{right}")
    return values.astype(np.int64)


def flags(file: str, column: Column) -> Array:
    """Return the flags of a column, which are true and false or 1 and 0."""
    values = numbers(file, column)
    require_rows((values == 0) | (values == 1), file, column, "is neither true nor false")
    return values.astype(bool)


def floats(file: str, column: Column, dtype: str) -> Array:
    """Return the finite numbers of a column with this precision."""
    values = numbers(file, column)
    with np.errstate(over="ignore"):
        rounded = values.astype(dtype)
    require_rows(np.isfinite(rounded), file, column, f"is too large for {dtype}")
    return rounded


def bytes_of(file: str, column: Column) -> Array:
    """Return the bytes of a column."""
    return whole_numbers(file, column, 0, LARGEST_BYTE).astype(np.uint8)
