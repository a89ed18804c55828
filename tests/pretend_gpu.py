"""A GPU that only pretends: it computes on the CPU, and refuses what a GPU refuses.

Its tensors call themselves `cuda:0` and are computed by the CPU's own operations, with autograd and
`vmap`. An operation on tensors of both devices raises MixedDevices, except where CUDA allows it.
PyTorch knows these tensors as those of its device `meta`, which needs no CUDA for autograd.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from dqn_cli.training import devices
from dqn_cli.training.settings import Device

aten = torch.ops.aten
CUDA, META = torch.device("cuda", 0), torch.device("meta")
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default}
COPIES = {aten.copy_.default, aten._to_copy.default}


class MixedDevices(RuntimeError):
    """An operation got tensors of the GPU and of the CPU."""


class PretendTensor(Tensor):
    """A tensor of the pretended GPU; `values` has its numbers."""

    values: Tensor

    @staticmethod
    def __new__(cls, values: Tensor) -> PretendTensor:
        made: PretendTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            values.size(),
            strides=values.stride(),
            storage_offset=values.storage_offset(),
            dtype=values.dtype,
            device=META,
        )
        made.values = values
        return made

    def __repr__(self, *, tensor_contents: object = None) -> str:
        return f"PretendTensor({self.values})"

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.values.__reduce_ex__(protocol)  # files don't depend on the device

    @classmethod
    def __torch_dispatch__(
        cls, operation: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        return computed(operation, arguments, named or {})


def computed(operation: Any, arguments: Sequence[Any], named: dict[str, Any]) -> Any:
    """Compute an operation on the CPU; its result is on the device of its arguments."""
    tensors: list[Tensor] = []

    def values_of(tensor: Tensor) -> Tensor:
        tensors.append(tensor)
        return tensor.values if isinstance(tensor, PretendTensor) else tensor

    own_arguments, own_named = mapped(values_of, Tensor, arguments), named
    if named:
        own_named = mapped(values_of, Tensor, named)
    on_gpu = any(isinstance(each, PretendTensor) for each in tensors)
    if on_gpu:
        check_devices(operation, arguments, tensors)
    if named.get("device") is not None:
        on_gpu = torch.device(named["device"]) == META
        own_named = own_named | {"device": torch.device("cpu")}
    result = operation(*own_arguments, **own_named)
    if operation._schema.is_mutable and isinstance(result, Tensor):
        if torch.Tag.inplace_view in operation.tags:  # the tensor's own shape changes too
            with no_dispatch():
                operation(*arguments, **named)
        return arguments[0]
    if not on_gpu or operation is aten._local_scalar_dense.default:
        return result
    return mapped(PretendTensor, Tensor, result)


def check_devices(operation: Any, arguments: Sequence[Any], tensors: Sequence[Tensor]) -> None:
    """Raise MixedDevices where CUDA would refuse a tensor of the CPU."""
    if operation in COPIES:
        return
    may_be_scalar = torch.Tag.pointwise in operation.tags or operation in INDEXED
    may_be_index = operation in INDEXED and isinstance(arguments[0], PretendTensor)
    for each in tensors:
        is_allowed = (may_be_scalar and each.dim() == 0) or (
            may_be_index and is_in(each, arguments[1])
        )
        if not isinstance(each, PretendTensor) and not is_allowed:
            raise MixedDevices(f"{operation} got a tensor {list(each.shape)} that is on the CPU")


def mapped(function: Callable[[Any], Any], kind: Any, value: Any) -> Any:
    """Apply a function to all values of a kind in nested lists, tuples and dicts."""
    if isinstance(value, kind):
        return function(value)
    if isinstance(value, dict):
        return {key: mapped(function, kind, item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)([mapped(function, kind, item) for item in value])
    return value


def is_in(tensor: Any, others: Sequence[Any]) -> bool:
    return any(tensor is other for other in others)


class Computing(TorchDispatchMode):
    """Takes the operations that make tensors of the GPU out of none."""

    def __torch_dispatch__(
        self, operation: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        return computed(operation, arguments, named or {})


class Naming(TorchFunctionMode):
    """Calls the device `cuda:0`, and takes the functions that `meta` has without numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.left_behind: list[Tensor] = []

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), named: Any = None
    ) -> Any:
        arguments = mapped(renamed, (torch.device, str), tuple(arguments))
        named = mapped(renamed, (torch.device, str), named or {})
        first = arguments[0] if arguments else None
        on_gpu = isinstance(first, Tensor) and first.device == META
        if on_gpu and function == Tensor.device.__get__:  # type: ignore[attr-defined]
            return CUDA
        if on_gpu and function is Tensor.tolist:
            return first.cpu().tolist()
        if function is Tensor.to and is_in(first, self.left_behind):
            return first
        if on_gpu and function is Tensor.new_tensor:
            function, arguments = torch.tensor, arguments[1:]
            named = {"dtype": first.dtype, "device": META} | named
        if function in (torch.tensor, torch.as_tensor) and named.get("device") is not None:
            device = named.pop("device")
            return function(*arguments, **named).to(device)
        return function(*arguments, **named)


def renamed(value: Any) -> Any:
    """Return the device by which PyTorch knows the pretended GPU."""
    return META if str(value).partition(":")[0] == "cuda" else value


@contextmanager
def pretend_gpu() -> Iterator[Callable[[Tensor], None]]:
    """Pretend that `cuda` is there; yields a function that leaves a tensor on the CPU.

    Inside, `tensor.to("cuda")` returns such a tensor as it is.
    """
    naming = Naming()
    there = {Device.cuda: lambda: True}
    with ExitStack() as stack:
        stack.enter_context(patch.dict(devices.AVAILABLE, there))
        stack.enter_context(patch("torch.cuda.mem_get_info", lambda: (2**40, 2**40)))
        stack.enter_context(Computing())
        stack.enter_context(naming)
        yield naming.left_behind.append
