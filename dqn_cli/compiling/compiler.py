"""Functions on tensors, compiled ahead of time; nothing else knows about compilers.

A function is traced once, when it is first called, and made into machine code by Inductor. The code
is kept in the user's cache folder under the hash of its graph, so the next run of its structure
loads it at once, and a changed line of mathematics never meets stale code. What none loads goes.
"""

from __future__ import annotations

import hashlib
import os
import platform
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import torch
from torch import Tensor, fx

from dqn_cli.agent.products import INSTRUCTIONS
from dqn_cli.arrays import Array, Values, tensor
from dqn_cli.compiling import graph_passes

# Patterns would turn `x @ weight + bias` into one call that is slower than two on a CPU. Memory is
# planned because taking it at once is sooner than in many pieces.
OPTIONS = {"pattern_matcher": False, "memory_planning": True}
DAYS_KEPT = 90  # since a package was last loaded
SMALL = 2**16  # bytes

Runner: TypeAlias = Callable[[list[Tensor]], list[Tensor]]


class Compiler(Protocol):
    """Makes `function(*fixed, *changing)` a function of what changes from call to call.

    Arguments are tensors, arrays or nested tuples of them. The `fixed` ones may be changed in
    place; results are a tuple of tensors. One that is an argument may change with the next call.
    """

    def __call__(self, function: Callable[..., Any], fixed: tuple[Any, ...]) -> Callable[..., Any]:
        """The function of what changes."""


def uncompiled(function: Callable[..., Any], fixed: tuple[Any, ...]) -> Callable[..., Any]:
    """The function as it is."""
    return partial(function, *fixed)


class AheadOfTime:
    """Compiles each function when it is first called, and says so where it can't.

    `works` is false as soon as something can't be compiled.
    """

    def __init__(
        self,
        say: Callable[[str], None] = print,
        waiting: Callable[[], AbstractContextManager[Any]] = nullcontext,
    ) -> None:
        """`waiting()` is entered while a function is traced and compiled."""
        self.say, self.waiting, self.works = say, waiting, True
        self._announced = False

    def __call__(self, function: Callable[..., Any], fixed: tuple[Any, ...]) -> Callable[..., Any]:
        """The function of what changes, compiled for the shapes that it is first called with."""
        return _Compiled(self, function, fixed)

    def package(self, function: Callable[..., Any], inputs: list[Tensor]) -> Runner | None:
        """What runs the function on such inputs; None if it can't be compiled."""
        try:
            with self.waiting(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _packaged(function, inputs, self._announce)
        except Exception as error:  # a missing compiler shows in many ways
            self.works = False
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            self.say(f"warning: not compiled, so the run is slower: {reason}")
            return None

    def _announce(self) -> None:
        if not self._announced:
            self._announced = True
            self.say("compiling, once for runs like this one; it takes 10 to 45 s, more for images")


class _Compiled:
    def __init__(
        self, compiler: AheadOfTime, function: Callable[..., Any], fixed: tuple[Any, ...]
    ) -> None:
        self._compiler, self._function, self._fixed = compiler, function, fixed
        self._inputs = _flat(fixed)
        assert all(each.is_contiguous() for each in self._inputs), "machine code needs plain memory"
        self._first = len(self._inputs)  # of those that change
        self._memory: list[Array | None] | None = None  # what arrays among those are copied into
        self._run: Runner | None = None

    def __call__(self, *changing: Any) -> Any:
        values = _leaves(changing)
        if self._memory is None:
            self._memory = [_copied(value) for value in values]
            given = [v if own is None else own for v, own in zip(values, self._memory, strict=True)]
            self._inputs += [each.contiguous() for each in _flat(given)]
            self._run = self._compiler.package(self._on_flat(changing), self._inputs)
        if self._run is None or not self._takes(values, self._memory):
            return self._function(*self._fixed, *changing)
        return self._run(self._inputs)

    def _takes(self, values: list[Values], memory: list[Array | None]) -> bool:
        """Makes values the inputs; false if they are of other types than the first ones."""
        for nth, (value, own) in enumerate(zip(values, memory, strict=True)):
            if own is not None and isinstance(value, np.ndarray):
                if value.dtype != own.dtype or value.shape != own.shape:
                    return False
                own[...] = value
            elif value is not (before := self._inputs[self._first + nth]):
                now = tensor(value).contiguous()
                if now.dtype != before.dtype or now.shape != before.shape:
                    return False
                self._inputs[self._first + nth], memory[nth] = now, None
        return True

    def _on_flat(self, changing: tuple[Any, ...]) -> Callable[..., Any]:
        def function(*inputs: Tensor) -> Any:
            rest = iter(inputs)
            return tuple(_flat(self._function(*_nested((*self._fixed, *changing), rest))))

        return function


def _packaged(
    function: Callable[..., Any], inputs: list[Tensor], announce: Callable[[], None]
) -> Runner:
    """What runs the function: the cached package of its graph, made if it is not there."""
    from torch.fx.experimental.proxy_tensor import make_fx

    # Of the inputs only types and shapes matter; strides of axes of one are arbitrary in NumPy.
    inputs = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in inputs]
    trace = make_fx(function, graph_passes.in_line(), tracing_mode="fake")
    graph = graph_passes.rewritten(trace(*inputs))
    package = cache_folder() / f"{_hash(graph, inputs)}.pt2"
    if package.exists():
        with suppress(Exception):  # a damaged one is made again
            return _loaded(package)
    announce()
    _forget_unused(package.parent)
    from torch._inductor import aoti_compile_and_package

    graph_passes.teach_inductor()
    program = torch.export.export(graph, tuple(inputs))
    with tempfile.TemporaryDirectory(dir=package.parent) as folder:
        made = Path(folder) / "made.pt2"
        aoti_compile_and_package(program, package_path=str(made), inductor_configs=dict(OPTIONS))
        made.replace(package)
    return _loaded(package)


def _loaded(package: Path) -> Runner:
    run: Runner
    with _temporary_folder():
        try:
            # What the public loader wraps, without the seconds and memory that importing it takes.
            from torch._C._aoti import AOTIModelPackageLoader

            run = AOTIModelPackageLoader(str(package), "model", False, 1, -1).run
        except (ImportError, TypeError):
            from torch._inductor import aoti_load_package

            run = aoti_load_package(str(package)).loader.run
    with suppress(OSError):  # the folder may be somebody else's
        package.touch()
    return run


@contextmanager
def _temporary_folder() -> Iterator[None]:
    """Removes what is unpacked inside, which loaded code needs no more and a killed run leaves."""
    before = os.environ.get("TMPDIR")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        os.environ["TMPDIR"] = folder
        try:
            yield
        finally:
            del os.environ["TMPDIR"]
            if before is not None:
                os.environ["TMPDIR"] = before


def _forget_unused(folder: Path) -> None:
    oldest = time.time() - DAYS_KEPT * 24 * 60 * 60
    for package in folder.glob("*.pt2"):
        with suppress(OSError):  # another process may be sooner
            if package.stat().st_mtime < oldest:
                package.unlink()


def _hash(graph: fx.GraphModule, inputs: list[Tensor]) -> str:
    """All that the machine code follows from."""
    tensors = [*inputs, *graph.buffers()]
    types = [(tensor.dtype, tuple(tensor.shape)) for tensor in tensors]
    machine = (platform.machine(), torch.backends.cpu.get_cpu_capability(), torch.__version__)
    # Machines that share a user's folder may lack some of each other's instructions.
    text = repr((graph.code, types, machine, INSTRUCTIONS, torch.get_num_threads(), OPTIONS))
    constants = b"".join(
        tensor.detach().cpu().contiguous().numpy().tobytes() for tensor in graph.buffers()
    )
    return hashlib.sha256(text.encode() + constants).hexdigest()


def cache_folder() -> Path:
    """Where compiled code is kept, for the user alone."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "dqn-train" / "compiled"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


def _copied(value: Values) -> Array | None:
    """A copy of a small array: to copy its numbers takes a tenth of the time of a new tensor."""
    small = isinstance(value, np.ndarray) and value.nbytes <= SMALL
    return np.array(value, order="C") if small else None


def _flat(value: Any) -> list[Tensor]:
    """All tensors of nested tuples in order, arrays as tensors on the same memory."""
    return [tensor(leaf) for leaf in _leaves(value)]


def _leaves(value: Any) -> list[Values]:
    """All tensors and arrays of nested tuples in order."""
    leaves: list[Values] = []
    for item in value:
        if isinstance(item, tuple):
            leaves += _leaves(item)
        else:
            leaves.append(item)
    return leaves


def _nested(like: Any, rest: Iterator[Tensor]) -> Any:
    """The next tensors in the place of those that `like` has."""
    if not isinstance(like, tuple):
        return next(rest)
    items = [_nested(item, rest) for item in like]
    return type(like)(*items) if hasattr(like, "_fields") else tuple(items)
