"""A compiler whose code is the traced graph itself: fast to make, and the same operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.fx.experimental.proxy_tensor import make_fx

from dqn_cli.compiling.compiler import AheadOfTime, Runner
from dqn_cli.compiling.graph_passes import apply_passes, decompositions


class Interpreted(AheadOfTime):
    """Traces functions and applies all graph passes, but interprets the graph."""

    def package(
        self, function: Callable[..., Any], inputs: list[torch.Tensor], structure: str | None = None
    ) -> Runner:
        graph = apply_passes(make_fx(function, decompositions(), tracing_mode="fake")(*inputs))
        return lambda values: list(graph(*values))
