"""Changes of a traced graph that make its machine code faster; the graph computes the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, library

from dqn_cli.compiling import processor

TINY = 2**14  # multiplications; for fewer, plain arithmetic is faster than calling a library
BROADCAST = 64  # uses of each element from which storing it is faster than computing it again

PRODUCTS = (torch.ops.aten.mm.default, torch.ops.aten.bmm.default)
TRANSPOSE = torch.ops.aten.transpose.int
TRANSPOSITIONS = (TRANSPOSE, torch.ops.aten.t.default, torch.ops.aten.permute.default)
VIEWS = (torch.ops.aten.view.default, torch.ops.aten._unsafe_view.default)

_LIBRARY = library.Library("dqn_train", "DEF")  # type: ignore[no-untyped-call]
_LIBRARY.define("materialize(Tensor x) -> Tensor")  # type: ignore[no-untyped-call]
_LIBRARY.impl("materialize", torch.clone, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
# Returns its input; machine code stores the input instead of computing it at each use.
MATERIALIZE = torch.ops.dqn_train.materialize.default


def decompositions() -> dict[Any, Callable[..., Any]]:
    """Return functions that a tracer calls in place of matrix products."""
    return dict.fromkeys(PRODUCTS, _product)


def apply_passes(graph: fx.GraphModule) -> fx.GraphModule:
    """Apply all passes to a traced graph, in place."""
    transpose_products(graph)
    allow_copies(graph)
    materialize_broadcasts(graph)
    graph.recompile()
    return graph


def transpose_products(graph: fx.GraphModule) -> None:
    """Compute each transposed matrix product as the product of transposed matrices.

    The gradient of a weight that is stored transposed then comes in the order of the weight.
    """
    for node in list(graph.graph.nodes):
        if (product := _transposed_product(node)) is None:
            continue
        with graph.graph.inserting_before(product):
            x, y = (graph.graph.call_function(TRANSPOSE, (arg, -1, -2)) for arg in product.args)
            swapped = graph.graph.create_node("call_function", product.target, (y, x))
        swapped.meta["val"] = node.meta["val"]
        node.replace_all_uses_with(swapped)  # Inductor removes nodes without users


def allow_copies(graph: fx.GraphModule) -> None:
    """Let each view copy where the memory layout is not the one that was traced."""
    for node in graph.graph.nodes:
        if node.target is torch.ops.aten.view.default:
            node.target = torch.ops.aten.reshape.default


def materialize_broadcasts(graph: fx.GraphModule) -> None:
    """Store every value that is broadcast to many elements.

    Inductor would compute it again for each of them, such as an optimizer's roots and quotients.
    """
    for node in list(graph.graph.nodes):
        for source in node.all_input_nodes:
            if _is_broadcast(source, node):
                with graph.graph.inserting_before(node):
                    stored = graph.graph.call_function(MATERIALIZE, (source,))
                    node.replace_input_with(source, stored)


def register_lowerings() -> None:
    """Register how Inductor compiles `MATERIALIZE`, and oneDNN's products of changing weights."""
    from torch._inductor import ir, lowering, mkldnn_ir

    def materialize(x: Any) -> Any:
        x.realize()
        return x

    lowering.lowerings[MATERIALIZE] = materialize
    if processor.HAS_ONEDNN:
        # Inductor's own lowering of this call takes constant weights only.
        create: Callable[..., Any] = mkldnn_ir.LinearUnary.create

        def linear(*arguments: Any) -> Any:
            return ir.TensorBox.create(create(*arguments))

        lowering.lowerings[torch.ops.mkldnn._linear_pointwise.default] = linear


def _product(x: Tensor, y: Tensor) -> Any:
    """Compute a tiny product [..., rows, columns] by arithmetic and a large one by oneDNN."""
    multiplications = x.shape[-2:].numel() * y.shape[-1]
    if x.device.type != "cpu":
        return NotImplemented
    if multiplications <= TINY:
        return (x.unsqueeze(-1) * y.unsqueeze(-3)).sum(-2)  # of [..., rows, inner, columns]
    is_exact = x.dtype == torch.float32 and processor.HAS_ONEDNN
    if multiplications >= processor.ONEDNN_THRESHOLD and is_exact:
        return _onednn_product(x, y.mT)
    return NotImplemented


def _onednn_product(x: Tensor, transposed: Tensor) -> Tensor:
    """Multiply x [(members,) rows, inner] by a matrix that is given transposed."""
    if x.dim() == 2:
        product: Tensor = torch.ops.mkldnn._linear_pointwise(x, transposed, None, "none", [], "")
        return product
    # All members are made contiguous at once.
    pairs = zip(x.contiguous(), transposed.contiguous(), strict=True)
    return torch.stack([_onednn_product(a, b) for a, b in pairs])  # [members, rows, columns]


def _transposed_product(node: fx.Node) -> fx.Node | None:
    """Return the matrix product that this node transposes, if nothing else uses it.

    Return None if another node transposes it back: the order is then right as it is.
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


def _is_broadcast(source: fx.Node, node: fx.Node) -> bool:
    if not source.op == node.op == "call_function":
        return False
    few, many = source.meta.get("val"), node.meta.get("val")
    if not (isinstance(few, Tensor) and isinstance(many, Tensor)):
        return False
    return few.numel() * BROADCAST <= many.numel()
