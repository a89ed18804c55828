"""Functions on tensors, compiled ahead of time.

A function is traced when it is first called, and Inductor makes machine code of its graph. The code
is kept in the user's cache folder under the key of the graph, so that a changed line of mathematics
never meets old code. The key of structure and source leads to it without a trace. While one
function is compiled, others that a run will call can be compiled in the background.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Protocol, TypeAlias

from torch import Tensor

from dqn_cli.compiling import code_cache
from dqn_cli.compiling.background import Background
from dqn_cli.compiling.cache_keys import graph_key, source_is_known, source_key
from dqn_cli.compiling.call_inputs import CallInputs, flatten, nest
from dqn_cli.compiling.code_cache import Runner
from dqn_cli.compiling.inductor import OPTIONS, exported, traced, write_package
from dqn_cli.compiling.recording import Recording

# Returns the changing arguments of a call that may come; None if they are not known yet.
Example: TypeAlias = Callable[[], tuple[Any, ...] | None]


class Compiler(Protocol):
    """Compiles `function(*fixed, *changing)` to a function of the changing arguments.

    `structure` says what the function depends on but its arguments; None if that is unknown.
    Arguments are tensors, arrays, None, or nested tuples of them. The fixed ones keep their place
    in memory and may be changed in place. Results are a tuple of tensors. A result that is also an
    argument may change with the next call. With an `example`, compiling may begin before the first
    call.
    """

    def __call__(
        self,
        function: Callable[..., Any],
        fixed: tuple[Any, ...],
        structure: str | None = None,
        example: Example | None = None,
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
        background: Background | None = None,
    ) -> None:
        """Prepare to compile.

        Args:
            say: Prints a line.
            waiting: Returns a context that is entered while a function is traced and compiled.
            background: Compiles functions that were not called yet, at the same time as another.
        """
        self.say, self.waiting, self.works = say, waiting, True
        self._background, self._announced = background, False
        self._expected = list[tuple[_Compiled, Example]]()

    def __call__(
        self,
        function: Callable[..., Any],
        fixed: tuple[Any, ...],
        structure: str | None = None,
        example: Example | None = None,
    ) -> Callable[..., Any]:
        """Return the function, compiled for the shapes of its first call."""
        if structure is not None:
            structure = f"{function.__qualname__} {structure}"
        compiled = _Compiled(self, function, fixed, structure)
        if structure and example and self._background:
            self._expected.append((compiled, example))
        return compiled

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
            self.close()
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.say(f"warning: not compiled, so the run is slower: {reason}")
            return None

    def close(self) -> None:
        """End what compiles in the background."""
        if self._background:
            self._background.stop()

    def _find(self, structure: str | None, inputs: list[Tensor]) -> Runner | None:
        """Return the code that the key of structure and source leads to."""
        if not structure or not source_is_known():
            return None
        link = source_key(structure, inputs, OPTIONS)
        if self._background:
            self._background.wait(link)
        return code_cache.find_linked(link)

    def _make(
        self, function: Callable[..., Any], inputs: list[Tensor], structure: str | None
    ) -> Runner:
        """Trace the function, and return the code of its graph; compile it if there is none."""
        graph = traced(function, inputs)
        key = graph_key(graph, inputs, OPTIONS)
        run = code_cache.find(key)
        if run is None:
            self._announce()
            self._compile_others()
            with code_cache.new_package(key) as package:
                write_package(exported(graph, inputs), package)
            run = code_cache.load(key)
        if structure and source_is_known():
            code_cache.add_link(source_key(structure, inputs, OPTIONS), key)
        return run

    def _compile_others(self) -> None:
        """Let functions that were not called yet be compiled in the background."""
        expected, self._expected = self._expected, []
        for compiled, example in expected:
            # What fails here is tried again, and reported, when the function is called.
            with suppress(Exception):
                changing = None if compiled.was_called else example()
                if changing is not None and source_is_known():
                    self._compile_in_background(compiled, changing)

    def _compile_in_background(self, compiled: _Compiled, changing: tuple[Any, ...]) -> None:
        assert self._background is not None
        assert compiled.structure is not None
        inputs = [*flatten(compiled.fixed), *flatten(changing)]
        link = source_key(compiled.structure, inputs, OPTIONS)
        if code_cache.find_linked(link):
            return
        graph = traced(compiled.on_flat(changing), inputs)
        key = graph_key(graph, inputs, OPTIONS)
        if not code_cache.find(key):
            self._background.start(link, exported(graph, inputs), key)
        code_cache.add_link(link, key)

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
        self._compiler, self._function = compiler, function
        self.fixed, self.structure = fixed, structure
        assert all(tensor.is_contiguous() for tensor in flatten(fixed)), (
            "fixed tensors are contiguous"
        )
        self._inputs: CallInputs | None = None
        self._run: Runner | None = None
        self._recorded = Recording()(function, fixed)

    def __call__(self, *changing: Any) -> Any:
        if self._inputs is None:
            self._inputs = CallInputs(self.fixed, changing)
            self._run = self._compiler.package(
                self.on_flat(changing), self._inputs.tensors, self.structure
            )
        if self._run is None:
            return self._recorded(*changing)
        if not self._inputs.take(changing):
            return self._function(*self.fixed, *changing)
        return self._run(self._inputs.tensors)

    @property
    def was_called(self) -> bool:
        """True once its arguments are known."""
        return self._inputs is not None

    def on_flat(self, changing: tuple[Any, ...]) -> Callable[..., Any]:
        """Return the function of all its tensors, of arguments like these."""

        def function(*inputs: Tensor) -> Any:
            arguments = nest((*self.fixed, *changing), iter(inputs))
            return tuple(flatten(self._function(*arguments)))

        return function
