"""What is changed in a traced update, and told to Inductor, so that its machine code is faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, library

from dqn_cli.agent.products import HAS_ONEDNN

TINY = 2**14  # multiplications: calling a library takes longer than to make so few
SPREAD = 64  # elements that are computed from each one

PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.bmm.default)
SWAP = torch.ops.aten.transpose.int
TRANSPOSITIONS = (SWAP, torch.ops.aten.t.default, torch.ops.aten.permute.default)
VIEWS = (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default)

_OPERATIONS = library.Library("dqn_train", "DEF")  # type: ignore[no-untyped-call]
_OPERATIONS.define("once(Tensor x) -> Tensor")  # type: ignore[no-untyped-call]
_OPERATIONS.impl("once", torch.clone, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
# The input as it is; machine code stores it instead of computing it wherever it is used.
ONCE = torch.ops.dqn_train.once.default


def in_line() -> dict[Any, Callable[..., Any]]:
    """What a tracer takes apart: the smallest matrix products, which become plain arithmetic."""
    return dict.fromkeys(PRODUCTS, _product)


def rewritten(graph: fx.GraphModule) -> fx.GraphModule:
    """The traced graph in the form that machine code is made of; it computes the same."""
    turn_products(graph)
    free_views(graph)
    spread_once(graph)
    graph.recompile()
    return graph


def turn_products(graph: fx.GraphModule) -> None:
    """Has each transposed matrix product made as the product of transposed matrices.

    So the gradient of a weight that is stored transposed comes in the order in which it is stored.
    """
    for node in list(graph.graph.nodes):
        if (product := _transposed_product(node)) is None:
            continue
        with graph.graph.inserting_before(product):
            x, y = (graph.graph.call_function(SWAP, (each, -1, -2)) for each in product.args)
            other = graph.graph.create_node("call_function", product.target, (y, x))
        other.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(other)  # Inductor leaves out what nobody uses


def free_views(graph: fx.GraphModule) -> None:
    """Lets each view copy where what it looks at lies in another order than when it was traced."""
    for node in graph.graph.nodes:
        if node.target is torch.ops.aten.view.default:
            node.target = torch.ops.aten.reshape.default


def spread_once(graph: fx.GraphModule) -> None:
    """Has all that is spread over many elements computed before, once.

    Inductor computes it for each of them: an optimiser's roots and quotients for every parameter.
    """
    for node in list(graph.graph.nodes):
        for source in node.all_input_nodes:
            if _is_spread(source, node):
                with graph.graph.inserting_before(node):
                    node.replace_input_with(source, graph.graph.call_function(ONCE, (source,)))


def teach_inductor() -> None:
    """Has it know `ONCE`, and oneDNN's products of weights that change (agent/products.py)."""
    from torch._inductor import ir, lowering, mkldnn_ir

    def once(x: Any) -> Any:
        x.realize()
        return x

    lowering.lowerings[ONCE] = once
    if HAS_ONEDNN:
        # Inductor has the call, but insists that weights are constants.
        create: Callable[..., Any] = mkldnn_ir.LinearUnary.create

        def product(*arguments: Any) -> Any:
            return ir.TensorBox.create(create(*arguments))

        lowering.lowerings[torch.ops.mkldnn._linear_pointwise.default] = product


def _product(x: Tensor, y: Tensor) -> Any:
    if x.device.type != "cpu" or x.shape[-2:].numel() * y.shape[-1] > TINY:
        return NotImplemented
    return (x.unsqueeze(-1) * y.unsqueeze(-3)).sum(-2)  # of [..., rows, inner, columns]


def _transposed_product(node: fx.Node) -> fx.Node | None:
    """The matrix product that this node transposes, if nothing else uses it.

    None if it is transposed back: a gradient then comes in the right order as it is.
    """
    if node.target not in TRANSPOSITIONS or any(x.target in TRANSPOSITIONS for x in node.users):
        return None
    (source,) = node.all_input_nodes
    while source.target in VIEWS and len(source.users) == 1:
        (source,) = source.all_input_nodes
    if source.target not in PRODUCTS or len(source.users) > 1:
        return None
    before, after = source.meta["val"].mT, node.meta["val"]
    same = (before.shape, before.stride()) == (after.shape, after.stride())
    return source if same else None


def _is_spread(source: fx.Node, node: fx.Node) -> bool:
    if not source.op == node.op == "call_function":
        return False
    few, many = source.meta.get("val"), node.meta.get("val")
    if not (isinstance(few, Tensor) and isinstance(many, Tensor)):
        return False
    return few.numel() * SPREAD <= many.numel()
