"""PyTorch's operations as a function calls them, and programs that repeat them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from operator import getitem
from types import BuiltinFunctionType, MethodDescriptorType
from typing import Any, NamedTuple

import torch
from torch import Tensor, fx
from torch.utils._python_dispatch import TorchDispatchMode

UNREPEATABLE = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
FLAGS = (torch.bool, torch.uint8)
ALIASES = {"alias", "detach"}  # results are the argument, but for autograd
RANDOM = torch.Tag.nondeterministic_seeded
# Arguments that they change in place, although their schemas don't say so.
UNDECLARED = {"native_batch_norm": ("running_mean", "running_var")}
# Other arguments can't be written as Python code.
PLAIN = (
    Tensor, bool, int, float, complex, str, torch.dtype, torch.device, torch.layout,
    torch.memory_format,
)  # fmt: skip
# Their results depend on the shapes of their arguments alone.
OF_SHAPES = {"zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"}


class Operation(NamedTuple):
    """A call of one of PyTorch's operations."""

    function: torch._ops.OpOverload[..., Any]
    arguments: tuple[Any, ...]
    keywords: Mapping[str, Any]
    result: Any  # a tensor, a sequence of tensors, or None

    @property
    def inputs(self) -> list[Tensor]:
        """Tensors among the arguments."""
        return [*_tensors(self.arguments), *_tensors(tuple(self.keywords.values()))]

    @property
    def results(self) -> list[Tensor]:
        """Tensors of the result."""
        return list(_tensors(self.result))

    @property
    def written(self) -> list[Tensor]:
        """Tensors that it changes in place."""
        schema = self.function._schema.arguments
        names = [argument.name for argument in schema if _is_written(argument)]
        names += UNDECLARED.get(self.name, ())
        given = dict(zip((argument.name for argument in schema), self.arguments, strict=False))
        return list(_tensors([(given | dict(self.keywords)).get(name) for name in names]))

    @property
    def is_repeatable(self) -> bool:
        """False if it depends on values of tensors, or takes more than tensors and constants."""
        plain = all(map(_is_plain, (*self.arguments, *self.keywords.values())))
        if self.name == "index":
            # An index of flags selects as many elements as are true; one of numbers does not.
            return plain and not any(x.dtype in FLAGS for x in self.inputs[1:])
        return plain and not UNREPEATABLE & set(self.function.tags)

    @property
    def name(self) -> str:
        """Name without namespace and overload, such as "add"."""
        return str(self.function.overloadpacket.__name__)


class Program:
    """Repeats recorded operations."""

    def __init__(
        self, run: Callable[..., list[Tensor]], constants: list[Tensor], changed: list[Tensor]
    ) -> None:
        self._run, self._constants = run, constants
        self.changed = changed  # tensors that live longer than a call, and that it changes

    def __call__(self) -> list[Tensor]:
        """Compute the results from what is in the places now."""
        with torch.inference_mode():
            return self._run(*self._constants)


class OperationRecorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records all operations within its context, also those of autograd."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[Operation] = []

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Otherwise PyTorch imports its compiler, which takes longer than many a short run.
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Call an operation and record it."""
        result = func(*args, **(kwargs or {}))
        self.operations.append(Operation(func, tuple(args), dict(kwargs or {}), result))
        return result


def build_program(
    operations: Sequence[Operation], places: Sequence[Tensor], results: Sequence[Tensor]
) -> Program | None:
    """Return a program of the operations; None if one of them is not repeatable.

    Args:
        operations: Recorded operations.
        places: Tensors that keep their place in memory, and whose values change between calls.
        results: Tensors that the program returns.
    """
    if not all(operation.is_repeatable for operation in operations):
        return None
    written = {_memory(value) for operation in operations for value in operation.written}
    constants = _constants(operations, places, written)
    needed = _needed(operations, results, constants)
    used = [*results, *(value for operation in needed for value in operation.inputs)]
    constants = {id(value): constants[id(value)] for value in used if id(value) in constants}
    graph = _ProgramGraph(constants)
    for operation in needed:
        graph.append(operation, written)
    tensors = list(constants.values())
    changed = [value for value in tensors if _memory(value) in written]
    return Program(graph.finished(results), tensors, changed)


class _ProgramGraph:
    """A graph of operations on constants; FX makes Python code of it."""

    def __init__(self, constants: Mapping[int, Tensor]) -> None:
        self._graph = fx.Graph()
        # Nodes of recorded tensors, by their identity.
        self._nodes = {key: self._graph.placeholder(f"place_{key}") for key in constants}
        self._known: dict[Any, fx.Node] = {}  # by what they compute

    def append(self, operation: Operation, written: set[int]) -> None:
        """Append a call of an operation, unless the same was called before."""
        if operation.name in ALIASES:
            self._nodes[id(operation.result)] = self._nodes[id(operation.inputs[0])]
            return
        arguments, keywords = (
            self._replaced(operation.arguments),
            self._replaced(operation.keywords),
        )
        key = str((operation.function, arguments, keywords))
        tensors = [*operation.inputs, *operation.results]
        if RANDOM in operation.function.tags or any(_memory(x) in written for x in tensors):
            node = self._call(operation, arguments, keywords)
        else:
            node = self._known.get(key) or self._call(operation, arguments, keywords)
            self._known[key] = node
        if isinstance(operation.result, Tensor):
            self._nodes.setdefault(id(operation.result), node)
        else:
            for nth, result in enumerate(operation.result or ()):
                item = self._graph.call_function(getitem, (node, nth))
                self._nodes.setdefault(id(result), item)

    def finished(self, results: Sequence[Tensor]) -> Callable[..., list[Tensor]]:
        """Return a function of the constants that computes the results."""
        self._graph.output([self._nodes[id(result)] for result in results])
        run: Callable[..., list[Tensor]] = fx.GraphModule({}, self._graph).forward
        return run

    def _call(self, operation: Operation, arguments: Any, keywords: Any) -> fx.Node:
        # PyTorch's own Python functions take less time than its tables of operations.
        name, graph = operation.name, self._graph
        if any(isinstance(value, tuple) and None in value for value in arguments):
            # Those of an index take no None in a list, the operation does.
            return graph.call_function(operation.function, arguments, keywords)
        if isinstance(getattr(torch, name, None), BuiltinFunctionType):
            return graph.call_function(getattr(torch, name), arguments, keywords)
        if isinstance(getattr(Tensor, name, None), MethodDescriptorType):
            return graph.call_method(name, arguments, keywords)
        return graph.call_function(operation.function, arguments, keywords)

    def _replaced(self, value: Any) -> Any:
        """Return nested arguments with nodes in place of tensors."""
        if isinstance(value, Tensor):
            return self._nodes[id(value)]
        if isinstance(value, dict):
            return {key: self._replaced(item) for key, item in value.items()}
        return tuple(map(self._replaced, value)) if isinstance(value, list | tuple) else value


def _needed(
    operations: Sequence[Operation], results: Sequence[Tensor], constants: Mapping[int, Tensor]
) -> list[Operation]:
    """Return the operations that write a tensor, or compute what is used and not constant."""
    used, needed = {id(result) for result in results}, []
    for operation in reversed(operations):
        computed = {id(result) for result in operation.results} - set(constants)
        if operation.written or computed & used:
            used.update(map(id, operation.inputs))
            needed.append(operation)
    return needed[::-1]


def _constants(
    operations: Sequence[Operation], places: Sequence[Tensor], written: set[int]
) -> dict[int, Tensor]:
    """Return tensors that need not be computed in each call, by the identity of those recorded.

    They are places, tensors that were made before, views of all these, and what depends on shapes
    alone and is not in `written` memory.
    """
    # Detached, they don't keep the first call's graph of autograd in memory.
    constants = {id(place): place.detach() for place in places}
    computed: set[int] = set()
    fixed_values: set[int] = set()
    for operation in operations:
        inputs, results = operation.inputs, operation.results
        for value in inputs:
            if id(value) not in computed:
                constants.setdefault(id(value), value.detach())
        computed.update(map(id, results))
        is_view = operation.function.is_view and all(id(value) in constants for value in inputs)
        is_fixed = (
            RANDOM not in operation.function.tags
            and (operation.name in OF_SHAPES or all(id(value) in fixed_values for value in inputs))
            and not any(_memory(result) in written for result in results)
        )
        if is_fixed:
            fixed_values.update(map(id, results))
        if (is_view or is_fixed) and not operation.written:
            constants |= {id(result): result.detach() for result in results}
    return constants


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, PLAIN)


def _is_written(argument: Any) -> bool:
    return argument.alias_info is not None and argument.alias_info.is_write


def _memory(value: Tensor) -> int:
    return value.untyped_storage().data_ptr()
