"""Functions whose parts come from other packages, watched for state that they keep in Python.

Compiled and recorded code repeats operations on tensors alone. A part that counts its calls, or
replaces a tensor of its own, would stay as it was when the code was made.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import Tensor

from dqn_cli.compiling.cache_keys import is_of_user
from dqn_cli.compiling.call_inputs import flatten
from dqn_cli.compiling.compiler import Compiler
from dqn_cli.compiling.recording import Recording


def foreign_parts(parts: Sequence[object]) -> list[object]:
    """Return the parts whose class, or one that it extends, is not ours."""
    known = {"dqn_cli", *sys.stdlib_module_names}
    return [part for part in parts if not known.issuperset(_packages(part))]


def python_state(parts: Sequence[object]) -> str | None:
    """Return a hash of parts and of the globals of your modules; None if one can't be read.

    Tensors count by their place in memory: operations on their values are repeated.
    """
    packages = {package for part in foreign_parts(parts) for package in _packages(part)}
    modules = [
        module
        for name, module in sorted(sys.modules.items())
        if name.partition(".")[0] in packages - {"dqn_cli", "torch", *sys.stdlib_module_names}
        or is_of_user(name)
    ]
    output = _Hash()
    try:
        pickler = _StatePickler(output, {module.__name__ for module in modules})
        pickler.dump([*parts, *(_plain(vars(module)) for module in modules)])
    except Exception:  # any object may refuse to be read in its own way
        return None
    return output.hash.hexdigest()


@cache
def warn_once(names: str) -> None:
    """Say that parts are not compiled; they are both in updates and in the choice of actions."""
    print(
        f"warning: {names} can't be compiled, because state of the part or its module changes or"
        " can't be read: it runs as Python, which is slower (compile=false leaves this out)",
        file=sys.stderr,
        flush=True,
    )


def watching(compiler: Compiler, parts: Sequence[object]) -> Compiler:
    """Return a compiler of functions that are watched if some of their parts are not ours."""
    if not foreign_parts(parts):
        return compiler

    def watched(
        function: Callable[..., Any],
        fixed: tuple[Any, ...],
        structure: str | None = None,
        example: object = None,  # it may never be compiled
    ) -> Callable[..., Any]:
        compiled = compiler(function, fixed, structure)
        return Watched(function, fixed, compiled, parts, not isinstance(compiler, Recording))

    return watched


class Watched:
    """A compiled function that gives way to the function itself if its parts keep state.

    The function runs as it is until two states were compared: those after its first two calls.
    State that is made in the first call and stays is none that is missed.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        fixed: tuple[Any, ...],
        compiled: Callable[..., Any],
        parts: Sequence[object],
        in_advance: bool,
    ) -> None:
        """Prepare to watch `parts`.

        Args:
            function: Takes the fixed arguments, then the changing ones.
            fixed: Arguments that may be changed in place.
            compiled: The same function of the changing arguments.
            parts: Objects whose state counts.
            in_advance: Whether the first two calls are tried before the first one and undone, for
                code that does not compute the same bits: a run that resumes then never mixes both.
        """
        self._function, self._fixed, self._compiled = function, fixed, compiled
        self._parts, self._in_advance = parts, in_advance
        self._states: list[str | None] = []
        self._keeps_state = False

    def __call__(self, *changing: Any) -> Any:
        """Call the function, or what was compiled of it."""
        if self._in_advance:
            while len(self._states) < 2:
                self._try(changing)
        if len(self._states) < 2:
            return self._watch(changing)
        if self._keeps_state:
            return self._function(*self._fixed, *changing)
        return self._compiled(*changing)

    def _watch(self, changing: tuple[Any, ...]) -> Any:
        results = self._function(*self._fixed, *changing)
        self._states.append(python_state(self._parts))
        self._keeps_state = None in self._states or len(set(self._states)) > 1
        if self._keeps_state:
            warn_once(", ".join(sorted({_name(part) for part in foreign_parts(self._parts)})))
        return results

    def _try(self, changing: tuple[Any, ...]) -> None:
        tensors = flatten(self._fixed)
        before = [tensor.clone() for tensor in tensors]
        with torch.random.fork_rng(devices=[]):
            self._watch(changing)
        for tensor, values in zip(tensors, before, strict=True):
            tensor.copy_(values)


class _Hash:
    """A file that keeps only a hash of what is written."""

    def __init__(self) -> None:
        self.hash = hashlib.sha256()

    def write(self, data: Any) -> None:
        self.hash.update(data)


class _StatePickler(pickle.Pickler):
    """Reads what objects hold: closures, and attributes of your classes; not their code."""

    def __init__(self, file: _Hash, modules: Collection[str]) -> None:
        super().__init__(file)
        self._modules = modules
        self._begun: dict[int, object] = {}  # functions and classes, by their place in memory

    def persistent_id(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return "tensor", value.data_ptr(), tuple(value.shape)
        if isinstance(value, FunctionType | type):
            if id(value) in self._begun:  # as a class holds itself whose methods call super()
                return "begun", value.__qualname__
            self._begun[id(value)] = value
        return value.__name__ if isinstance(value, ModuleType) else None

    def reducer_override(self, value: Any) -> Any:
        """Return what is written in place of an object; nothing reads it again."""
        held: Any
        if isinstance(value, FunctionType):
            cells = [cell.cell_contents for cell in value.__closure__ or ()]
            held = value.__qualname__, value.__defaults__, value.__kwdefaults__, cells
        elif isinstance(value, staticmethod | classmethod):
            held = value.__func__
        elif isinstance(value, property):
            held = value.fget
        elif isinstance(value, type) and value is not str:
            is_own = value.__module__ in self._modules
            held = value.__qualname__, _plain(vars(value)) if is_own else None
        else:
            return NotImplemented
        return str, (held,)


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    # An abstract class keeps its registered ones in `_abc_impl`, which can't be read.
    return {
        name: value
        for name, value in values.items()
        if not name.startswith("__") and name != "_abc_impl"
    }


def _name(part: object) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"


def _packages(part: object) -> set[str]:
    return {cls.__module__.partition(".")[0] for cls in type(part).__mro__}
