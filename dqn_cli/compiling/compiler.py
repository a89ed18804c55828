"""Functions on tensors, compiled ahead of time.

A function is traced when it is first called, and Inductor makes machine code of its graph. The code
is kept in the user's cache folder under a hash of the graph. So the next run of the same structure
loads it at once, and a changed line of mathematics never meets old code. Code that no run loads for
a long time is removed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, fx

from dqn_cli.compiling import graph_passes
from dqn_cli.compiling.call_inputs import CallInputs, flatten, nest
from dqn_cli.compiling.processor import INSTRUCTIONS
from dqn_cli.compiling.recording import Recording

# The pattern matcher would fuse `x @ weight + bias` into one call that is slower on a CPU. Planned
# memory is allocated at once instead of in many pieces.
OPTIONS = {"pattern_matcher": False, "memory_planning": True}
DAYS_KEPT = 90  # since a package was last loaded

Runner: TypeAlias = Callable[[list[Tensor]], list[Tensor]]


class Compiler(Protocol):
    """Compiles `function(*fixed, *changing)` to a function of the changing arguments.

    Arguments are tensors, arrays, None, or nested tuples of them. The fixed ones keep their place
    in memory and may be changed in place. Results are a tuple of tensors. A result that is also an
    argument may change with the next call.
    """

    def __call__(self, function: Callable[..., Any], fixed: tuple[Any, ...]) -> Callable[..., Any]:
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

    def __call__(self, function: Callable[..., Any], fixed: tuple[Any, ...]) -> Callable[..., Any]:
        """Return the function, compiled for the shapes of its first call."""
        return _Compiled(self, function, fixed)

    def package(self, function: Callable[..., Any], inputs: list[Tensor]) -> Runner | None:
        """Return machine code of the function for such inputs; None if it can't be compiled."""
        try:
            with self.waiting(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return _packaged(function, inputs, self._announce)
        except Exception as error:  # a missing compiler causes many types
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
        assert all(tensor.is_contiguous() for tensor in flatten(fixed)), (
            "fixed tensors are contiguous"
        )
        self._inputs: CallInputs | None = None
        self._run: Runner | None = None
        self._recorded = Recording()(function, fixed)

    def __call__(self, *changing: Any) -> Any:
        if self._inputs is None:
            self._inputs = CallInputs(self._fixed, changing)
            self._run = self._compiler.package(self._on_flat(changing), self._inputs.tensors)
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


def _packaged(
    function: Callable[..., Any], inputs: list[Tensor], announce: Callable[[], None]
) -> Runner:
    """Return the cached machine code of the function's graph; compile it if there is none."""
    from torch.fx.experimental.proxy_tensor import make_fx

    # Only types and shapes matter. NumPy's strides are arbitrary along axes of length 1.
    inputs = [torch.empty(x.shape, dtype=x.dtype, device=x.device) for x in inputs]
    trace = make_fx(function, graph_passes.decompositions(), tracing_mode="fake")
    graph = graph_passes.apply_passes(trace(*inputs))
    package = cache_folder() / f"{_hash(graph, inputs)}.pt2"
    if package.exists():
        with suppress(Exception):  # a damaged package is made again
            return _loaded(package)
    announce()
    _forget_unused(package.parent)
    from torch._inductor import aoti_compile_and_package

    graph_passes.register_lowerings()
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
            # The public loader wraps this class, but importing it takes seconds and memory.
            from torch._C._aoti import AOTIModelPackageLoader

            run = AOTIModelPackageLoader(str(package), "model", False, 1, -1).run
        except (ImportError, TypeError):
            from torch._inductor import aoti_load_package

            run = aoti_load_package(str(package)).loader.run
    with suppress(OSError):  # the folder may belong to another user
        package.touch()
    return run


@contextmanager
def _temporary_folder() -> Iterator[None]:
    """Use a temporary folder that is removed, because the loader leaves its unpacked files."""
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
    for kind, days in (("*.pt2", DAYS_KEPT), ("tmp*/", 1)):  # the latter of killed processes
        for path in folder.glob(kind):
            with suppress(OSError):  # another process may remove it first
                if path.stat().st_mtime < time.time() - days * 24 * 60 * 60:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _hash(graph: fx.GraphModule, inputs: list[Tensor]) -> str:
    """Return a hash of everything that the machine code depends on."""
    tensors = [*inputs, *graph.buffers()]
    types = [(tensor.dtype, tuple(tensor.shape)) for tensor in tensors]
    machine = (platform.machine(), torch.backends.cpu.get_cpu_capability(), torch.__version__)
    # Machines with other instructions may share the user's folder.
    text = repr((graph.code, types, machine, INSTRUCTIONS, torch.get_num_threads(), OPTIONS))
    constants = b"".join(
        tensor.detach().cpu().contiguous().numpy().tobytes() for tensor in graph.buffers()
    )
    return hashlib.sha256(text.encode() + constants).hexdigest()


def cache_folder() -> Path:
    """Return the folder of compiled code, which only the user can read."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(base) / "dqn-train" / "compiled"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder
