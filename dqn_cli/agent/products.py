"""Matrix products, on a CPU by the library that is sooner done with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

# What the processor can do; nothing is said by releases of PyTorch that do not know.
PROCESSOR: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
INSTRUCTIONS = sorted(name for name, has in PROCESSOR.items() if has is True)
HAS_ONEDNN: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]


def _large(processor: Mapping[str, Any]) -> float:
    """How many multiplications oneDNN is worth beginning for.

    PyTorch's own library, MKL, uses half of the width of an AMD processor from Zen 5 on, which
    AVX-VNNI beside AVX-512 tells apart. oneDNN uses all of it, but takes some ten microseconds
    longer to begin; elsewhere MKL is as fast or faster.
    """
    is_amd = "AMD" in processor.get("cpu_name", "")
    is_wide = processor.get("avx512_f") and processor.get("avx_vnni")
    return 2**22 if is_amd and is_wide else math.inf


LARGE = _large(PROCESSOR)


def product(x: Tensor, weight: Tensor) -> Tensor:
    """The matrix product [batch, outputs] of x [batch, inputs] and a weight [inputs, outputs]."""
    is_large = math.prod(x.shape) * weight.shape[1] >= LARGE
    return _OneDnn.apply(x, weight) if is_large and _suits(x) else x @ weight  # type: ignore[no-untyped-call]


def _suits(x: Tensor) -> bool:
    where = x.device.type
    exact = x.dtype == torch.float32 and not torch.is_autocast_enabled(where)
    return HAS_ONEDNN and where == "cpu" and exact


def _times(x: Tensor, transposed: Tensor) -> Tensor:
    """The product of x [(members,) batch, inputs] and [(members,) outputs, inputs], transposed."""
    if x.dim() == 2:
        result: Tensor = torch.ops.mkldnn._linear_pointwise(x, transposed, None, "none", [], "")
        return result
    # Memory is put in order for all members at once.
    pairs = zip(x.contiguous(), transposed.contiguous(), strict=True)
    return torch.stack([_times(one, other) for one, other in pairs])  # [members, batch, outputs]


class _OneDnn(torch.autograd.Function):
    @staticmethod
    def forward(x: Tensor, weight: Tensor) -> Tensor:
        return _times(x, weight.mT)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        x, weight = ctx.saved_tensors
        (gradient,) = gradients
        return _times(gradient, weight), _times(x.mT, gradient.mT)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        members = (
            each.expand(info.batch_size, *each.shape) if dim is None else each.movedim(dim, 0)
            for each, dim in zip(inputs, in_dims, strict=True)
        )
        return _OneDnn.apply(*members), 0  # type: ignore[no-untyped-call]
