from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from dqn_cli.agent import products
from dqn_cli.agent.products import product

SHAPES = [(5, 3, 7), (1, 4, 2), (64, 256, 256), (128, 9, 40)]


@pytest.fixture
def by_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every product, however small."""
    if not products.HAS_ONEDNN:
        pytest.skip("no oneDNN here")
    monkeypatch.setattr(products, "LARGE", 0)

    def refused(x: Tensor, weight: Tensor) -> Tensor:
        raise AssertionError("not by oneDNN")

    monkeypatch.setattr(Tensor, "__matmul__", refused)


def drawn(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def with_gradients(
    function: Callable[[Tensor, Tensor], Tensor], x: Tensor, weight: Tensor
) -> tuple[Tensor, ...]:
    """The product, and the gradients of a sum in which each of its numbers counts differently."""
    x, weight = (each.detach().requires_grad_() for each in (x, weight))
    result = function(x, weight)
    counts = torch.linspace(-1, 1, result.numel(), dtype=result.dtype).view_as(result)
    return result.detach(), *torch.autograd.grad((result * counts).sum(), (x, weight))


def exact(x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
    double = with_gradients(torch.matmul, x.double(), weight.double())
    return tuple(each.float() for each in double)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("transposed", [False, True])
def test_it_is_the_product_and_has_its_gradients(
    by_onednn: None, shape: tuple[int, int, int], transposed: bool
) -> None:
    batch, inputs, outputs = shape
    weight = drawn(2, outputs, inputs).T if transposed else drawn(1, inputs, outputs)
    x = drawn(0, batch, inputs)
    for mine, yours in zip(with_gradients(product, x, weight), exact(x, weight), strict=True):
        assert_close(mine, yours, rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize("in_dims", [(0, 0), (None, 0), (0, None), (1, 2)])
def test_members_have_products_of_their_own(
    by_onednn: None, in_dims: tuple[int | None, int | None]
) -> None:
    members, batch, inputs, outputs = 3, 6, 5, 4
    x, weight = drawn(0, members, batch, inputs), drawn(1, members, inputs, outputs)
    each = [
        own[0] if dim is None else own.movedim(0, dim)
        for own, dim in zip((x, weight), in_dims, strict=True)
    ]
    found = with_gradients(torch.vmap(product, in_dims), *each)
    expected = with_gradients(torch.vmap(torch.matmul, in_dims), *each)
    for mine, yours in zip(found, expected, strict=True):
        assert_close(mine, yours)


@pytest.mark.parametrize(
    ("sizes", "dtype"), [((64, 256, 256), torch.float64), ((64, 128, 128), torch.float32)]
)
def test_small_and_exact_ones_are_pytorchs_own(
    monkeypatch: pytest.MonkeyPatch, sizes: tuple[int, int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(products, "LARGE", 2**22)
    monkeypatch.setattr(products, "_times", pytest.fail)
    batch, inputs, outputs = sizes
    x, weight = drawn(0, batch, inputs, dtype=dtype), drawn(1, inputs, outputs, dtype=dtype)
    assert torch.equal(product(x, weight), x @ weight)


def test_autocast_has_its_own_precision() -> None:
    x, weight = drawn(0, 64, 256), drawn(1, 256, 256)
    with torch.autocast("cpu", torch.bfloat16):
        assert product(x, weight).dtype == torch.bfloat16
    assert product(x, weight).dtype == torch.float32


@pytest.mark.parametrize(
    ("processor", "large"),
    [
        ({"cpu_name": "AMD EPYC", "avx512_f": True, "avx_vnni": True}, 2**22),  # Zen 5
        ({"cpu_name": "AMD EPYC", "avx512_f": True, "avx_vnni": False}, math.inf),  # Zen 4
        ({"cpu_name": "AMD EPYC", "avx512_f": False, "avx_vnni": False}, math.inf),  # Zen 3
        ({"cpu_name": "Intel(R) Xeon(R)", "avx512_f": True, "avx_vnni": True}, math.inf),
        ({"architecture": "aarch64"}, math.inf),
        ({}, math.inf),
    ],
)
def test_onednn_is_for_processors_that_mkl_uses_half_of(
    processor: dict[str, Any], large: float
) -> None:
    assert products._large(processor) == large


def test_without_onednn_it_is_pytorchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "LARGE", 0)
    monkeypatch.setattr(products, "HAS_ONEDNN", False)
    monkeypatch.setattr(products, "_times", pytest.fail)
    x, weight = drawn(0, 64, 256), drawn(1, 256, 256)
    assert torch.equal(product(x, weight), x @ weight)
