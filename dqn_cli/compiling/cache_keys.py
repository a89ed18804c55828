"""Keys of compiled code: hashes of everything that the code follows from.

Tracing a function takes a second or more, so there are two keys. That of the graph is exact. That
of structure and source needs no trace: it is a hash of the settings that a function depends on and
of all Python source that may have a part in it. It changes more often than it has to, and then
the function is traced.
"""

from __future__ import annotations

import hashlib
import platform
import sys
import sysconfig
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from torch import Tensor, fx

from dqn_cli.agent.agent import Agent
from dqn_cli.compiling.processor import INSTRUCTIONS
from dqn_cli.replay.samplers import Replay, Sampler

OURS = Path(__file__).parents[1]
# Their versions are in each key.
LIBRARIES = ("numpy", "torch")
PLUGINS = "hydra_plugins.dqn_train_"  # ours, which compute nothing


def graph_key(graph: fx.GraphModule, inputs: Sequence[Tensor], options: Mapping[str, Any]) -> str:
    """Return the key of a traced function."""
    code = graph.code, _kinds([*inputs, *graph.buffers()]), _machine(), dict(options)
    constants = [value.detach().cpu().contiguous().numpy().tobytes() for value in graph.buffers()]
    return _hash([repr(code).encode(), *constants])


def source_key(structure: str, inputs: Sequence[Tensor], options: Mapping[str, Any]) -> str:
    """Return the key of a function that is not traced.

    Args:
        structure: Text that says which function it is, and what it depends on but its inputs.
        inputs: Tensors of types and shapes as those that the function is called with.
        options: Options of the compiler.
    """
    text = structure, _kinds(inputs), _machine(), dict(options), sys.version, source_hash()
    return _hash([repr(text).encode()])


def describe_structure(agents: Sequence[Agent], sampler: Sampler[Replay] | None) -> str | None:
    """Return what updates and action values depend on but their inputs, as text.

    Numbers of agents that are inputs are left out. None if something has no complete text.
    """
    described: list[Any] = [_agent(agents[0]), len(agents)]
    parts = [*agents[0].parts.values()]
    if sampler is not None:
        described += sampler.structure()
        parts += [sampler, sampler.replay]
    with np.printoptions(floatmode="unique", precision=17, threshold=sys.maxsize):
        text = repr(described)
    modules = [*(type(part).__module__ for part in parts), *agents[0].network.modules.values()]
    has_files = all(getattr(sys.modules[name], "__file__", None) for name in modules)
    # An object that describes itself by its place in memory may hold anything.
    return text if has_files and " at 0x" not in text and "..." not in text else None


@cache
def source_hash() -> str:
    """Return a hash of our source and that of all modules imported before the first call.

    Files of installed libraries are known by size and time of change, all others by their content.
    """
    files = source_files()
    return hash_files(sorted(files), installed=[path for path in files if _is_installed(path)])


@cache
def source_files() -> frozenset[Path]:
    """Return our files, and those of modules imported before the first call.

    Without Python's own modules, and libraries that are known by their version.
    """
    return frozenset([*OURS.rglob("*.py"), *_files_of_others()])


def source_is_known() -> bool:
    """Return whether the hash has the source that this process runs.

    It has not if a file was changed since the process began, or a module of yours imported after
    the hash was made.
    """
    began = psutil.Process().create_time()
    try:
        is_unchanged = all(path.stat().st_mtime < began for path in source_files())
    except OSError:  # a file is gone
        return False
    late = [path for path in _files_of_others() if path not in source_files()]
    return is_unchanged and all(map(_is_installed, late))


def is_of_user(module: str) -> bool:
    """Return whether a module is neither ours, nor Python's, nor in an installed library."""
    file = _file_of_other(module)
    return file is not None and not _is_installed(file)


def hash_files(files: Sequence[Path], installed: Container[Path]) -> str:
    """Return a hash of names and contents; of `installed` files, of size and time of change."""
    parts = []
    for path in files:
        status = path.stat()
        change = f"{status.st_size} {status.st_mtime_ns}".encode()
        parts += [str(path).encode(), change if path in installed else path.read_bytes()]
    return _hash(parts)


def _agent(agent: Agent) -> list[Any]:
    """Return what an agent's graph depends on: all but the numbers that its scalars are."""
    described: list[Any] = [agent.spaces.plain(), agent.normalization, agent.acts_by_heads]
    for name, part in agent.parts.items():
        values = {field.name: getattr(part, field.name) for field in fields(part)}
        described += [name, type(part).__module__, type(part).__qualname__]
        described += [
            (key, "scalar" if f"{name}.{key}" in agent.scalars else value)
            for key, value in values.items()
        ]
    return described


def _files_of_others() -> Iterator[Path]:
    """Yield files of imported modules but ours, Python's, and those known by their version."""
    return filter(None, map(_file_of_other, list(sys.modules)))


def _file_of_other(module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    package = module.partition(".")[0]
    is_known = package in {"dqn_cli", *LIBRARIES, *sys.stdlib_module_names}
    is_known = is_known or module.startswith(PLUGINS)
    return Path(file) if file and not is_known and Path(file).is_file() else None


@cache
def _library_folders() -> list[Path]:
    return [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]


def _is_installed(path: Path) -> bool:
    # We are known by content also where we are installed.
    return OURS not in path.parents and any(folder in path.parents for folder in _library_folders())


def _kinds(tensors: Sequence[Tensor]) -> list[tuple[torch.dtype, tuple[int, ...]]]:
    return [(tensor.dtype, tuple(tensor.shape)) for tensor in tensors]


def _machine() -> tuple[Any, ...]:
    # Machines with other instructions may share the user's folder.
    capability = torch.backends.cpu.get_cpu_capability()
    versions = torch.__version__, np.__version__, torch.get_num_threads()
    return platform.machine(), capability, INSTRUCTIONS, versions


def _hash(parts: Sequence[bytes]) -> str:
    return hashlib.sha256(b"\0".join(parts)).hexdigest()
