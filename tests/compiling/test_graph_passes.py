from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from dqn_cli.compiling.compiler import AheadOfTime, cache_folder
from dqn_cli.compiling.graph_passes import ONCE, SPREAD, TINY, in_line, rewritten, turn_products

DOUBLE = torch.float64


def traced(function: Any, *inputs: Tensor) -> fx.GraphModule:
    return make_fx(function, in_line(), tracing_mode="fake")(*inputs)


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
def test_as_many_multiplications_as_are_worth_a_call_stay_one(lead: tuple[int, ...]) -> None:
    # Each member's product counts by itself: a library is called for all of them.
    x, small, large = normal(*lead, 128, 16), normal(*lead, 16, 8), normal(*lead, 16, 9)
    assert TINY == 128 * 16 * 8
    assert not any("mm" in call for call in calls(traced(torch.matmul, x, small)))
    assert sum("mm" in call for call in calls(traced(torch.matmul, x, large))) == 1


def test_products_on_other_devices_stay_as_they_are() -> None:
    x = torch.empty(2, 2, device="meta")
    assert sum("mm" in call for call in calls(traced(torch.matmul, x, x))) == 1


def test_gradients_of_tiny_products_are_in_line_too() -> None:
    def slope(x: Tensor, y: Tensor) -> Tensor:
        y = y.detach().requires_grad_()
        return torch.autograd.grad((x @ y).sin().sum(), y)[0]

    x, y = normal(5, 3), normal(3, 2)
    graph = traced(slope, x, y)
    assert not any("mm" in call for call in calls(graph))
    torch.testing.assert_close(graph(x, y), slope(x, y))


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


def test_the_gradient_of_a_transposed_weight_is_made_as_it_is_stored() -> None:
    inputs = normal(3, 7, 200), normal(3, 50, 200)
    graph = traced(gradient, *inputs)
    assert products(graph) == [(3, 50, 7), (3, 200, 7)]
    assert products(rewritten(graph)) == [(3, 50, 7), (3, 7, 200)]
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
    turn_products(graph)
    graph.recompile()
    assert graph.code == before


def noisy_gradient(weight: Tensor, scale: Tensor, noise: Tensor, x: Tensor) -> Tensor:
    """Of weights [outputs, inputs] and of the scales of their noise, used transposed, as a row."""
    weight, scale = (each.detach().requires_grad_() for each in (weight, scale))
    loss = (x @ (weight.T + scale.T * noise)).sin().sum()
    return torch.cat([each.view(-1) for each in torch.autograd.grad(loss, (weight, scale))])


def test_a_gradient_that_comes_as_it_is_stored_is_left_alone_and_can_be_exported() -> None:
    inputs = normal(50, 200), normal(50, 200), normal(200, 50), normal(7, 200)
    graph = traced(noisy_gradient, *inputs)
    before = products(graph)
    assert products(rewritten(graph)) == before == [(7, 50), (50, 200)]
    exported = torch.export.export(graph, inputs).module()
    torch.testing.assert_close(exported(*inputs), noisy_gradient(*inputs))


def test_what_is_looked_at_may_lie_in_another_order_than_when_it_was_traced() -> None:
    def scaled_row(x: Tensor, y: Tensor, scale: Tensor) -> Tensor:
        return ((x @ y).T * scale).T.view(-1)

    inputs = normal(50, 7), normal(7, 200), normal(200, 50)
    graph = traced(scaled_row, *inputs)
    exported = torch.export.export(rewritten(graph), inputs).module()
    torch.testing.assert_close(exported(*inputs), scaled_row(*inputs))


def scaled(x: Tensor, scale: Tensor) -> Tensor:
    """The root is one number for all of x."""
    return x * (scale * scale + 1).sqrt()


def test_what_is_spread_over_many_elements_is_computed_once_before() -> None:
    x, scale = normal(SPREAD), normal(1)
    graph = rewritten(traced(scaled, x, scale))
    (once,) = [node for node in graph.graph.nodes if node.target is ONCE]
    (source,) = once.all_input_nodes
    assert "sqrt" in str(source.target)
    assert ["mul" in str(user.target) for user in once.users] == [True]
    torch.testing.assert_close(graph(x, scale), scaled(x, scale), rtol=0, atol=0)


def test_what_is_spread_over_few_or_was_given_is_left_alone() -> None:
    few = rewritten(traced(scaled, normal(SPREAD - 1), normal(1)))
    given = rewritten(traced(torch.mul, normal(1000), normal(1)))
    parts = rewritten(traced(lambda x: torch.cat((x * 2).split(500)), normal(1000)))
    assert str(ONCE) not in calls(few) + calls(given) + calls(parts)


def test_machine_code_computes_it_once_and_right(
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
