"""What is changed in a traced update, and told to Inductor, so that its machine code is faster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx

from dqn_cli.agent.products import HAS_ONEDNN

TINY = 2**14  # multiplications: calling a library takes longer than to make so few
SPREAD = 64  # elements that are computed from each one

_LIBRARY = torch.library.Library("dqn_train", "DEF")  # type: ignore[no-untyped-call]
_LIBRARY.define("once(Tensor x) -> Tensor")  # type: ignore[no-untyped-call]
_LIBRARY.impl("once", torch.clone, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
# The input as it is; machine code stores it instead of computing it wherever it is used.
ONCE = torch.ops.dqn_train.once.default


def in_line() -> dict[Any, Callable[..., Any]]:
    """What a tracer takes apart: the smallest matrix products, which become plain arithmetic."""
    return {torch.ops.aten.mm.default: _product, torch.ops.aten.bmm.default: _product}


def spread_once(graph: fx.GraphModule) -> fx.GraphModule:
    """The graph with all that is spread over many elements computed before, once.

    Inductor computes it for each of them: an optimiser's roots and quotients for every parameter.
    """
    for node in list(graph.graph.nodes):
        for source in node.all_input_nodes:
            if _is_spread(source, node):
                with graph.graph.inserting_before(node):
                    node.replace_input_with(source, graph.graph.call_function(ONCE, (source,)))
    graph.recompile()
    return graph


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


def _is_spread(source: fx.Node, node: fx.Node) -> bool:
    if not source.op == node.op == "call_function":
        return False
    few, many = source.meta.get("val"), node.meta.get("val")
    if not (isinstance(few, Tensor) and isinstance(many, Tensor)):
        return False
    return few.numel() * SPREAD <= many.numel()
