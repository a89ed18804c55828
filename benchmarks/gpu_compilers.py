"""Ways to run an update on a GPU: as it is, as a CUDA graph, or by Inductor.

The product compiles for the CPU alone. These are compilers for `CompiledLearner`, which show what
it would gain on a GPU.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from dqn_cli.arrays import tensor

WARM_UP = 3  # calls before a graph is captured
Function = Callable[..., Any]


class CudaGraphs:
    """Captures a function's kernels at its first call, and launches them at once afterwards."""

    def __call__(self, function: Function, fixed: tuple[Any, ...], *_: object) -> Function:
        """Return the function of the changing arguments."""
        graph: torch.cuda.CUDAGraph | None = None
        inputs: list[Tensor] = []
        result: Any = None

        def call(*changing: Any) -> Any:
            nonlocal graph, result
            values, structure = tree_flatten(changing)
            if graph is not None:
                for own, value in zip(inputs, values, strict=True):
                    own.copy_(tensor(value), non_blocking=True)
                graph.replay()
                return result
            inputs[:] = [tensor(value).to("cuda", copy=True) for value in values]
            arguments = (*fixed, *tree_unflatten(inputs, structure))
            side = torch.cuda.Stream()
            side.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(side):
                for _ in range(WARM_UP):
                    function(*arguments)
            torch.cuda.current_stream().wait_stream(side)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                result = function(*arguments)
            graph.replay()
            return result

        return call


class Inductor:
    """Traces a function with its gradient at its first call, and compiles the graph.

    Without a backend, the graph is interpreted.
    """

    def __init__(self, device: str, backend: str | None = "inductor") -> None:
        self._device, self._backend = device, backend

    def __call__(self, function: Function, fixed: tuple[Any, ...], *_: object) -> Function:
        """Return the function of the changing arguments."""
        constant, fixed_structure = tree_flatten(fixed)
        compiled: Function | None = None
        result_structure: Any = None

        def call(*changing: Any) -> Any:
            nonlocal compiled
            values, structure = tree_flatten(changing)
            inputs = [*constant, *(tensor(value).to(self._device) for value in values)]

            def flat(*tensors: Tensor) -> list[Tensor]:
                nonlocal result_structure
                own = tree_unflatten(list(tensors[: len(constant)]), fixed_structure)
                rest = tree_unflatten(list(tensors[len(constant) :]), structure)
                results, result_structure = tree_flatten(function(*own, *rest))
                return results

            if compiled is None:
                from torch.fx.experimental.proxy_tensor import make_fx

                graph = make_fx(flat, tracing_mode="fake")(*inputs)
                backend = self._backend
                compiled = torch.compile(graph, backend=backend) if backend else graph
            return tree_unflatten(list(compiled(*inputs)), result_structure)

        return call
