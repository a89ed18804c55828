"""Functions on tensors, compiled ahead of time.

A function is traced when it is first called, and Inductor makes machine code of its graph. The code
is kept in the user's cache folder under the key of the graph, so that a changed line of mathematics
never meets old code. The key of structure and source leads to it without a trace.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, fx

from dqn_cli.compiling import code_cache, graph_passes
from dqn_cli.compiling.cache_keys import graph_key, source_is_known, source_key
from dqn_cli.compiling.call_inputs import CallInputs, flatten, nest
from dqn_cli.compiling.code_cache import Runner
from dqn_cli.compiling.recording import Recording

# The pattern matcher would fuse `x @ weight + bias` into one call that is slower on a CPU. Planned
# memory is allocated at once instead of in many pieces.
OPTIONS = {"pattern_matcher": False, "memory_planning": True}


class Compiler(Protocol):
    """Compiles `function(*fixed, *changing)` to a function of the changing arguments.

    `structure` says what the function depends on but its arguments; None if that is unknown.
    Arguments are tensors, arrays, None, or nested tuples of them. The fixed ones keep their place
    in memory and may be changed in place. Results are a tuple of tensors. A result that is also an
    argument may change with the next call.
    """

    def __call__(
        self, function: Callable[..., Any], fixed: tuple[Any, ...], structure: str | None = None
    ) -> Callable[..., Any]:
        """Return the function of the changing arguments."""


class AheadOfTime:
    """Compiles each function when it is first called, and reports it if that fails.

    `works` is false as soon as a function could not be compiled.
    """

    def __init__(
        self,
        say: Callable[[str], None] = print,
        waiting: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        """Enter the context `waiting()` while a function is traced and compiled; `say` prints."""
        self.say, self.waiting, self.works = say, waiting, True
        self._announced = False

    def __call__(
        self, function: Callable[..., Any], fixed: tuple[Any, ...], structure: str | None = None
    ) -> Callable[..., Any]:
        """Return the function, compiled for the shapes of its first call."""
        if structure is not None:
            structure = f"{function.__qualname__} {structure}"
        return _Compiled(self, function, fixed, structure)

    def package(
        self, function: Callable[..., Any], inputs: list[Tensor], structure: str | None = None
    ) -> Runner | None:
        """Return machine code of the function for such inputs; None if it can't be compiled."""
        try:
            with self.waiting(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return self._find(structure, inputs) or self._make(function, inputs, structure)
        except Exception as error:  # a missing compiler causes many types
            self.works = False
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.say(f"warning: not compiled, so the run is slower: {reason}")
            return None

    def _find(self, structure: str | None, inputs: list[Tensor]) -> Runner | None:
        """Return the code that the key of structure and source leads to."""
        if structure and source_is_known():
            return code_cache.find_linked(source_key(structure, inputs, OPTIONS))
        return None

    def _make(
        self, function: Callable[..., Any], inputs: list[Tensor], structure: str | None
    ) -> Runner:
        """Trace the function, and return the code of its graph; compile it if there is none."""
        graph = _traced(function, inputs)
        key = graph_key(graph, inputs, OPTIONS)
        run = code_cache.find(key)
        if run is None:
            self._announce()
            with code_cache.new_package(key) as package:
                _compile(graph, inputs, package)
            run = code_cache.load(key)
        if structure and source_is_known():
            code_cache.add_link(source_key(structure, inputs, OPTIONS), key)
        return run

    def _announce(self) -> None:
        if not self._announced:
            self._announced = True
            self.say("compiling, once for runs like this one; it takes 10 to 45 s, more for images")


class _Compiled:
    def __init__(
        self,
        compiler: AheadOfTime,
        function: Callable[..., Any],
        fixed: tuple[Any, ...],
        structure: str | None,
    ) -> None:
        self._compiler, self._function, self._fixed = compiler, function, fixed
        self._structure = structure
        assert all(tensor.is_contiguous() for tensor in flatten(fixed)), (
            "fixed tensors are contiguous"
        )
        self._inputs: CallInputs | None = None
        self._run: Runner | None = None
        self._recorded = Recording()(function, fixed)

    def __call__(self, *changing: Any) -> Any:
        if self._inputs is None:
            self._inputs = CallInputs(self._fixed, changing)
            self._run = self._compiler.package(
                self._on_flat(changing), self._inputs.tensors, self._structure
            )
        if self._run is None:
            return self._recorded(*changing)
        if not self._inputs.take(changing):
            return self._function(*self._fixed, *changing)
        return self._run(self._inputs.tensors)

    def _on_flat(self, changing: tuple[Any, ...]) -> Callable[..., Any]:
        def function(*inputs: Tensor) -> Any:
            arguments = nest((*self._fixed, *changing), iter(inputs))
            return tuple(flatten(self._function(*arguments)))

        return function


def _traced(function: Callable[..., Any], inputs: list[Tensor]) -> fx.GraphModule:
    """Return the graph of a function of such inputs."""
    from torch.fx.experimental.proxy_tensor import make_fx

    trace = make_fx(function, graph_passes.decompositions(), tracing_mode="fake")
    return graph_passes.apply_passes(trace(*_like(inputs)))


def _compile(graph: fx.GraphModule, inputs: list[Tensor], package: Path) -> None:
    """Write a package of the graph's machine code."""
    from torch._inductor import aoti_compile_and_package, config

    graph_passes.register_lowerings()
    program = torch.export.export(graph, tuple(_like(inputs)))
    options = dict(OPTIONS)
    try:
        # Otherwise Inductor compiles a test of each kind of instructions the processor has.
        with config.patch({"cpp.vec_isa_ok": True}):
            aoti_compile_and_package(program, package_path=str(package), inductor_configs=options)
    except Exception:  # a C++ compiler may not know them all
        aoti_compile_and_package(program, package_path=str(package), inductor_configs=options)


def _like(inputs: list[Tensor]) -> list[Tensor]:
    # Only types and shapes matter. NumPy's strides are arbitrary along axes of length 1.
    return [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in inputs]
