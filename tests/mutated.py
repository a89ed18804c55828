"""Damaged and hostile files made from good ones, for tests and benchmarks/mutations.py."""

from __future__ import annotations

import contextlib
import copy
import hashlib
import io
import math
import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dqn_cli.storage import SCHEMA, load_checkpoint, save_checkpoint

HEADER = len(f"dqn-train checkpoint {SCHEMA:04d} ") + 65
KEPT = object()
VALUES: tuple[Any, ...] = (
    None, -1, 2**62, -(2**62), 2**200, math.nan, math.inf, -math.inf, 0.5, True, "", "\x1b[31mred",
    "two\nlines", "${oc.env:HOME}", "x" * 20_000, [], {}, (), [[]], {"type": "Settings"},
    torch.zeros(0), torch.full((3,), math.nan), torch.zeros(2, 2, dtype=torch.int64),
)  # fmt: skip


class Outcome(NamedTuple):
    """Result of a command on a mutated file."""

    code: int
    lines: list[str]  # on stderr
    seconds: float  # of the processor, which others may share
    grown: int  # bytes of memory at most, beyond those before


def mutate_bytes(content: bytes, rng: random.Random) -> bytes:
    """Flips, cuts, inserts, deletes, blanks or swaps bytes."""
    data, kind = bytearray(content), rng.randrange(6)
    at, size = rng.randrange(len(data)), rng.choice([1, 2, 16, 300])
    if kind == 0:
        data[at] ^= 1 << rng.randrange(8)
    elif kind == 1:
        del data[at:]
    elif kind == 2:
        data[at:at] = rng.randbytes(size)
    elif kind == 3:
        del data[at : at + size]
    elif kind == 4:
        data[at : at + size] = bytes(len(data[at : at + size]))
    else:
        other = rng.randrange(len(data))
        data[at : at + size], data[other : other + size] = (
            data[other : other + size],
            data[at : at + size],
        )
    return bytes(data)


def signed(content: bytes) -> bytes:
    """A checkpoint with the right checksum, whatever it holds."""
    checksum = hashlib.sha256(content).hexdigest()
    return f"dqn-train checkpoint {SCHEMA:04d} {checksum}\n".encode() + content


def mutate_field(data: Any, rng: random.Random) -> str:
    """Replaces, changes or removes one field of nested data, in place; returns its name."""
    path: list[Any] = []
    while True:
        keys = list(data) if isinstance(data, dict) else list(range(len(data)))
        key = rng.choice(keys)
        path.append(key)
        value = data[key]
        if isinstance(value, tuple):
            value = data[key] = list(value)
        if isinstance(value, (dict, list)) and value and rng.random() < 0.85:
            data = value
            continue
        if isinstance(data, dict) and rng.random() < 0.15:
            del data[key]
            return f"{path} removed"
        changed = mutated_tensor(value, rng) if isinstance(value, Tensor) else KEPT
        data[key] = rng.choice(VALUES) if changed is KEPT else changed
        return f"{path} = {data[key]!r}"[:200]


def mutated_tensor(values: Tensor, rng: random.Random) -> Any:
    """A tensor of another shape, type or value; or KEPT."""
    kind = rng.randrange(7)
    if kind == 0 or not values.numel():
        return KEPT
    if kind == 1:
        return values.flatten()[:-1]
    if kind == 2:
        return values[None].clone()
    if kind == 3:
        return values.double() if values.dtype != torch.float64 else values.float()
    values = values.clone()
    if values.is_floating_point():
        fill = rng.choice([math.nan, math.inf, -1.0])
    else:
        fill = rng.choice([-1, 2**40, 77]) if values.dtype == torch.int64 else 1
    if values.dim() == 0 or kind == 4:
        return values.fill_(fill)
    values.view(-1)[rng.randrange(values.numel())] = fill  # [values]
    return values


def with_mutated_field(path: Path, rng: random.Random) -> str:
    """Rewrites a checkpoint with another field and the right checksum; returns what changed."""
    data = copy.deepcopy(load_checkpoint(path))
    change = mutate_field(data, rng)
    save_checkpoint(path, data)
    return change


def is_same(one: Any, other: Any) -> bool:
    """Whether two loaded files hold the same data."""
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and bool((one == other).all())
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(is_same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)) and type(one) is type(other):
        pairs = zip(one, other, strict=False)
        return len(one) == len(other) and all(is_same(*pair) for pair in pairs)
    return type(one) is type(other) and bool(one == other)


def attempt(command: Callable[[], int]) -> Outcome:
    """Runs a command in this process and measures it."""
    out, err = io.StringIO(), io.StringIO()
    before = _peak(reset=True)
    start = time.process_time()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = command()
    seconds = time.process_time() - start
    return Outcome(code, err.getvalue().splitlines(), seconds, _peak() - before)


def _peak(reset: bool = False) -> int:
    """Memory of this process at most, since the last reset where the system can reset it."""
    with contextlib.suppress(OSError):
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1]) * 1024
    return 0


@contextlib.contextmanager
def working_in(folder: Path) -> Iterator[None]:
    """Works in another folder."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
