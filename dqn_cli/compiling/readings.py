"""Calls that carry values of tensors into Python, where no operation of PyTorch can be recorded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

# They give away the memory of a tensor, or replace it.
OF_MEMORY = {
    "numpy", "tolist", "__array__", "__dlpack__", "__deepcopy__", "__reduce_ex__", "data_ptr",
    "untyped_storage", "storage", "set_",
}  # fmt: skip
# They make a tensor of nested lists of numbers; where these are tensors, they are read.
OF_NUMBERS = {"tensor", "as_tensor", "asarray", "new_tensor"}
SET_DATA = Tensor.data.__set__  # type: ignore[attr-defined]


class ReadingRecorder(TorchFunctionMode):
    """Records the names of functions that read values of tensors, within its context."""

    def __init__(self) -> None:
        super().__init__()
        self.functions: list[str] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a function, and record it if it reads."""
        name = getattr(func, "__name__", "")
        makes_of_tensors = name in OF_NUMBERS and any(map(_holds_tensor, args))
        if name in OF_MEMORY or func == SET_DATA or makes_of_tensors:
            self.functions.append(name)
        return func(*args, **(kwargs or {}))


def _holds_tensor(value: Any) -> bool:
    """Return whether a tensor is in nested lists."""
    items = value if isinstance(value, list | tuple) else ()
    return any(isinstance(item, Tensor) or _holds_tensor(item) for item in items)
