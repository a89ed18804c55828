"""Graphs of functions on tensors, and machine code that Inductor makes of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram

from dqn_cli.compiling import graph_passes

# The pattern matcher would fuse `x @ weight + bias` into one call that is slower on a CPU. Planned
# memory is allocated at once instead of in many pieces.
OPTIONS = {"pattern_matcher": False, "memory_planning": True}
# They change how long it takes, and not the code. Otherwise Inductor compiles a test of each kind
# of instructions the processor has, and headers that only many functions are worth.
SOONER = {"cpp.vec_isa_ok": True, "aot_inductor.precompile_headers": False}


def traced(function: Callable[..., Any], inputs: Sequence[Tensor]) -> fx.GraphModule:
    """Return the graph of a function of such inputs."""
    from torch.fx.experimental.proxy_tensor import make_fx

    trace = make_fx(function, graph_passes.decompositions(), tracing_mode="fake")
    return graph_passes.apply_passes(trace(*_like(inputs)))


def exported(graph: fx.GraphModule, inputs: Sequence[Tensor]) -> ExportedProgram:
    """Return the graph as what Inductor compiles."""
    return torch.export.export(graph, tuple(_like(inputs)))


def write_package(program: ExportedProgram, package: Path) -> None:
    """Write a package of a program's machine code."""
    from torch._inductor import aoti_compile_and_package, config

    graph_passes.register_lowerings()
    options = dict(OPTIONS)
    try:
        with config.patch(SOONER):
            aoti_compile_and_package(program, package_path=str(package), inductor_configs=options)
    except Exception:  # a C++ compiler may not know all instructions
        aoti_compile_and_package(program, package_path=str(package), inductor_configs=options)


def _like(inputs: Sequence[Tensor]) -> list[Tensor]:
    # Only types and shapes matter. NumPy's strides are arbitrary along axes of length 1.
    return [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in inputs]
