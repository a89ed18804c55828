"""The type of NumPy arrays everywhere here; shapes are in the docstrings."""

from __future__ import annotations

from typing import Any, TypeAlias

from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
