from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from dqn_cli.compiling import graph_passes, processor
from dqn_cli.compiling.code_cache import cache_folder
from dqn_cli.compiling.compiler import AheadOfTime
from dqn_cli.compiling.graph_passes import (
    BROADCAST,
    MATERIALIZE,
    TINY,
    apply_passes,
    decompositions,
    transpose_products,
)

DOUBLE = torch.float64


def traced(function: Any, *inputs: Tensor) -> fx.GraphModule:
    return make_fx(function, decompositions(), tracing_mode="fake")(*inputs)


def calls(graph: fx.GraphModule) -> list[str]:
    return [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=DOUBLE)


@pytest.mark.parametrize("shapes", [((5, 3), (3, 2)), ((4, 5, 3), (4, 3, 2)), ((1, 1), (1, 1))])
def test_tiny_products_become_plain_arithmetic_with_the_same_result(
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> None:
    x, y = (normal(*shape) for shape in shapes)
    graph = traced(torch.matmul, x, y)
    assert not any("mm" in call for call in calls(graph))
    torch.testing.assert_close(graph(x, y), x @ y)


@pytest.mark.parametrize("lead", [(), (3,)])
def test_products_that_are_worth_a_call_of_a_library_stay_one(lead: tuple[int, ...]) -> None:
    # Each member's product counts by itself: a library is called for all of them.
    x, small, large = normal(*lead, 128, 16), normal(*lead, 16, 8), normal(*lead, 16, 9)
    assert TINY == 128 * 16 * 8
    assert not any("mm" in call for call in calls(traced(torch.matmul, x, small)))
    assert sum("mm" in call for call in calls(traced(torch.matmul, x, large))) == 1


def test_products_on_other_devices_stay_as_they_are() -> None:
    x = torch.empty(2, 2, device="meta")
    assert sum("mm" in call for call in calls(traced(torch.matmul, x, x))) == 1


def test_gradients_of_tiny_products_become_plain_arithmetic_too() -> None:
    def slope(x: Tensor, y: Tensor) -> Tensor:
        y = y.detach().requires_grad_()
        return torch.autograd.grad((x @ y).sin().sum(), y)[0]

    x, y = normal(5, 3), normal(3, 2)
    graph = traced(slope, x, y)
    assert not any("mm" in call for call in calls(graph))
    torch.testing.assert_close(graph(x, y), slope(x, y))


SHAPES = [(5, 3, 7), (1, 4, 2), (64, 256, 256), (128, 9, 40)]
Product = Callable[[Tensor, Tensor], Tensor]


@pytest.fixture
def onednn_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every product is one of oneDNN, however small."""
    if not processor.HAS_ONEDNN:
        pytest.skip("PyTorch was built without oneDNN")
    monkeypatch.setattr(processor, "ONEDNN_THRESHOLD", 0)
    monkeypatch.setattr(graph_passes, "TINY", 0)


def single(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def with_gradients(function: Product) -> Callable[[Tensor, Tensor], tuple[Tensor, ...]]:
    """The product, and the gradients of a sum in which each of its numbers counts differently."""

    def product_and_gradients(x: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        x, weight = (factor.detach().requires_grad_() for factor in (x, weight))
        result = function(x, weight)
        counts = torch.linspace(-1, 1, result.numel(), dtype=result.dtype).view_as(result)
        return result.detach(), *torch.autograd.grad((result * counts).sum(), (x, weight))

    return product_and_gradients


def libraries(graph: fx.GraphModule) -> set[str]:
    """The libraries that compute a graph's matrix products."""
    of_pytorch = any("mm" in call for call in calls(graph))
    of_onednn = any("mkldnn" in call for call in calls(graph))
    return {name for name, used in (("pytorch", of_pytorch), ("onednn", of_onednn)) if used}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("transposed", [False, True])
def test_products_of_onednn_and_their_gradients_are_right(
    onednn_only: None, shape: tuple[int, int, int], transposed: bool
) -> None:
    batch, inputs, outputs = shape
    x = single(0, batch, inputs)
    weight = single(2, outputs, inputs).T if transposed else single(1, inputs, outputs)
    function = with_gradients(torch.matmul)
    graph = traced(function, x, weight)
    assert libraries(graph) == {"onednn"}
    exact = function(x.double(), weight.double())
    for ours, theirs in zip(graph(x, weight), exact, strict=True):
        torch.testing.assert_close(ours, theirs.float(), rtol=1e-5, atol=2e-4)


@pytest.mark.parametrize("in_dims", [(0, 0), (None, 0), (0, None), (1, 2)])
def test_members_have_products_of_onednn_of_their_own(
    onednn_only: None, in_dims: tuple[int | None, int | None]
) -> None:
    members, batch, inputs, outputs = 3, 6, 5, 4
    of_members = single(0, members, batch, inputs), single(1, members, inputs, outputs)
    arguments = [
        factor[0] if dim is None else factor.movedim(0, dim)
        for factor, dim in zip(of_members, in_dims, strict=True)
    ]
    function = with_gradients(torch.vmap(torch.matmul, in_dims))
    graph = traced(function, *arguments)
    assert libraries(graph) == {"onednn"}
    for ours, theirs in zip(graph(*arguments), function(*arguments), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize(
    ("threshold", "sizes", "dtype"),
    [
        (2**22, (64, 128, 128), torch.float32),  # 2**20 multiplications
        (2**22, (64, 256, 256), torch.float64),
        (0, (64, 256, 256), torch.float64),
        (0, (64, 256, 256), torch.bfloat16),
        (2**22 + 1, (64, 256, 256), torch.float32),
    ],
)
def test_products_below_the_threshold_or_of_another_precision_are_pytorchs_own(
    onednn_only: None,
    monkeypatch: pytest.MonkeyPatch,
    threshold: int,
    sizes: tuple[int, int, int],
    dtype: torch.dtype,
) -> None:
    monkeypatch.setattr(processor, "ONEDNN_THRESHOLD", threshold)
    batch, inputs, outputs = sizes
    x, weight = single(0, batch, inputs, dtype=dtype), single(1, inputs, outputs, dtype=dtype)
    graph = traced(torch.matmul, x, weight)
    assert libraries(graph) == {"pytorch"}
    assert torch.equal(graph(x, weight), x @ weight)


def test_a_product_of_as_many_multiplications_as_the_threshold_is_one_of_onednn(
    onednn_only: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "ONEDNN_THRESHOLD", 2**22)
    graph = traced(torch.matmul, single(0, 64, 256), single(1, 256, 256))
    assert libraries(graph) == {"onednn"}


def test_each_members_product_counts_by_itself(
    onednn_only: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "ONEDNN_THRESHOLD", 2**22)
    small, large = single(0, 9, 64, 128), single(0, 9, 64, 256)
    graphs = (traced(torch.matmul, x, single(1, 9, x.shape[2], 256)) for x in (small, large))
    assert [libraries(graph) for graph in graphs] == [{"pytorch"}, {"onednn"}]


def test_autocast_has_its_own_precision(onednn_only: None) -> None:
    def in_bfloat16(x: Tensor, weight: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return x @ weight

    x, weight = single(0, 64, 256), single(1, 256, 256)
    graph = traced(in_bfloat16, x, weight)
    assert libraries(graph) == {"pytorch"}
    assert graph(x, weight).dtype == torch.bfloat16
    assert traced(torch.matmul, x, weight)(x, weight).dtype == torch.float32


@pytest.mark.parametrize("device", ["meta", "cuda"])
def test_products_on_other_devices_are_never_those_of_onednn(
    onednn_only: None, device: str
) -> None:
    with FakeTensorMode():
        x = torch.empty(64, 256, device=device)
        graph = make_fx(torch.matmul, decompositions())(x, x.T)
    assert libraries(graph) == {"pytorch"}


def test_without_onednn_products_are_pytorchs_own(
    onednn_only: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "HAS_ONEDNN", False)
    x, weight = single(0, 64, 256), single(1, 256, 256)
    graph = traced(torch.matmul, x, weight)
    assert libraries(graph) == {"pytorch"}
    assert torch.equal(graph(x, weight), x @ weight)


def test_machine_code_has_products_of_onednn_of_changing_weights(
    onednn_only: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def slopes(weights: Tensor, x: Tensor) -> tuple[Tensor, ...]:
        weights = weights.detach().requires_grad_()
        result = torch.vmap(torch.matmul, (None, 0))(x, weights)
        alone = x @ weights[0]
        return result.detach(), *torch.autograd.grad(result.sin().sum() + alone.sum(), weights)

    weights, x = torch.randn(2, 5, 3), torch.randn(4, 5)
    compiler = AheadOfTime()
    run = compiler(slopes, (weights,))
    for _ in range(2):
        for ours, theirs in zip(run(x), slopes(weights, x), strict=True):
            torch.testing.assert_close(ours, theirs)
        weights += 1
    assert compiler.works
    assert b"linear_pointwise" in source(cache_folder())


def source(folder: Path) -> bytes:
    """The C++ code of the only package in the folder."""
    (package,) = folder.glob("*.pt2")
    with zipfile.ZipFile(package) as files:
        return b"".join(files.read(name) for name in files.namelist() if name.endswith(".cpp"))


def gradient(weight: Tensor, x: Tensor) -> Tensor:
    """Of weights [members, outputs, inputs] that are used transposed, on inputs of each member."""
    weight = weight.detach().requires_grad_()
    loss = torch.vmap(lambda weight, x: (x @ weight.T).sin().sum())(weight, x).sum()
    return torch.autograd.grad(loss, weight)[0].flatten()


def products(graph: fx.GraphModule) -> list[tuple[int, ...]]:
    """The shapes of the matrix products whose results are used."""
    graph.graph.eliminate_dead_code()
    return [tuple(n.meta["val"].shape) for n in graph.graph.nodes if "mm" in str(n.target)]


def twice(x: Tensor, y: Tensor) -> Tensor:
    product = x @ y
    return product @ product.mT


def test_the_gradient_of_a_transposed_weight_is_computed_in_the_order_it_is_stored() -> None:
    inputs = normal(3, 7, 200), normal(3, 50, 200)
    graph = traced(gradient, *inputs)
    assert products(graph) == [(3, 50, 7), (3, 200, 7)]
    assert products(apply_passes(graph)) == [(3, 50, 7), (3, 7, 200)]
    torch.testing.assert_close(graph(*inputs), gradient(*inputs))


@pytest.mark.parametrize(
    "function",
    [
        twice,
        lambda x, y: (x @ y).view(-1, 100).T,  # cut into other rows before
        lambda x, y: (x @ y).flatten().permute(0),
    ],
)
def test_other_products_are_left_as_they_are(function: Any) -> None:
    inputs = normal(50, 60), normal(60, 40)
    graph = traced(function, *inputs)
    before = graph.code
    transpose_products(graph)
    graph.recompile()
    assert graph.code == before


def noisy_gradient(weight: Tensor, scale: Tensor, noise: Tensor, x: Tensor) -> Tensor:
    """Of weights [outputs, inputs] and of the scales of their noise, used transposed, as a row."""
    weight, scale = (each.detach().requires_grad_() for each in (weight, scale))
    loss = (x @ (weight.T + scale.T * noise)).sin().sum()
    return torch.cat([each.view(-1) for each in torch.autograd.grad(loss, (weight, scale))])


def test_a_gradient_in_the_order_it_is_stored_stays_as_it_is_and_can_be_exported() -> None:
    inputs = normal(50, 200), normal(50, 200), normal(200, 50), normal(7, 200)
    graph = traced(noisy_gradient, *inputs)
    before = products(graph)
    assert products(apply_passes(graph)) == before == [(7, 50), (50, 200)]
    exported = torch.export.export(graph, inputs).module()
    torch.testing.assert_close(exported(*inputs), noisy_gradient(*inputs))


def test_a_view_may_be_of_another_memory_layout_than_when_it_was_traced() -> None:
    def scaled_row(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        return ((x @ y).T * scale).T.view(-1)

    inputs = normal(50, 7), normal(7, 200), normal(200, 50)
    graph = traced(scaled_row, *inputs)
    exported = torch.export.export(apply_passes(graph), inputs).module()
    torch.testing.assert_close(exported(*inputs), scaled_row(*inputs))


def scaled(x: Tensor, scale: Tensor) -> Tensor:
    """The root is one number for all of x."""
    return x * (scale * scale + 1).sqrt()


def test_a_value_that_is_broadcast_to_many_elements_is_stored_before() -> None:
    x, scale = normal(BROADCAST), normal(1)
    graph = apply_passes(traced(scaled, x, scale))
    (stored,) = [node for node in graph.graph.nodes if node.target is MATERIALIZE]
    (source,) = stored.all_input_nodes
    assert "sqrt" in str(source.target)
    assert ["mul" in str(user.target) for user in stored.users] == [True]
    torch.testing.assert_close(graph(x, scale), scaled(x, scale), rtol=0, atol=0)


def test_values_of_few_elements_and_inputs_are_not_stored() -> None:
    few = apply_passes(traced(scaled, normal(BROADCAST - 1), normal(1)))
    given = apply_passes(traced(torch.mul, normal(1000), normal(1)))
    parts = apply_passes(traced(lambda x: torch.cat((x * 2).split(500)), normal(1000)))
    assert str(MATERIALIZE) not in calls(few) + calls(given) + calls(parts)


def test_machine_code_computes_a_broadcast_value_once_and_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def plus(fixed: Tensor, x: Tensor, scale: Tensor) -> tuple[Tensor]:
        return (scaled(x, scale) + fixed,)

    # Inductor writes a loop over 1,000 elements, and one over the last of them.
    fixed, x, scale = normal(1003), normal(1003), normal(1)
    compiler = AheadOfTime()
    result = compiler(plus, (fixed,))(x, scale)
    assert compiler.works
    torch.testing.assert_close(result[0], plus(fixed, x, scale)[0])
    (package,) = cache_folder().glob("*.pt2")
    with zipfile.ZipFile(package) as files:
        (kernels,) = (files.read(name) for name in files.namelist() if "kernel.cpp" in name)
    assert kernels.count(b"sqrt(") == 1
