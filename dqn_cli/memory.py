"""Memory: what a replay buffer needs, known before a run begins, and a heap that stays small."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

import psutil
import torch

from dqn_cli.hardware import CGROUP

SPARE = 0.05  # of what is free, for everything else
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # their numbers in C


def check_memory(capacity: int, needed: int, device: str = "cpu") -> None:
    """ValueError if a buffer for so many transitions, of so many bytes, does not fit."""
    free = free_bytes(device)
    if needed > (1 - SPARE) * free:
        fits = _rounded_down(capacity * (1 - SPARE) * free / needed)
        raise ValueError(
            f"replay.capacity={capacity} needs {needed / 1e9:.1f} GB of memory, and"
            f" {free / 1e9:.1f} GB are free: replay.capacity={fits} fits"
        )


def free_bytes(device: str = "cpu") -> int:
    """Memory that this process could still take."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):  # no container, or one without a limit
        limit, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, limit - used + _reclaimable())
    return max(free, 0)


def keep_large_blocks() -> None:
    """Makes each large block of memory serve again once it is freed; before the first tensor.

    glibc cuts a block to be aligned and hands the scraps to small ones, beside which no block of
    that size finds room again: updates took gigabytes in a quarter of an hour. PyTorch leaves no
    scraps where it aligns to whole pages, and asks for large ones, which are sooner reached.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    with suppress(AttributeError, OSError, TypeError):  # C libraries that have no such choice
        library = ctypes.CDLL(None)
        # Or blocks go back to the system at once, and an update waits for its pages each time.
        library.mallopt(M_MMAP_THRESHOLD, 2**25)
        library.mallopt(M_TRIM_THRESHOLD, 2**28)


def _reclaimable() -> int:
    """What files left in a container's memory, which gives way."""
    with suppress(OSError, ValueError):
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        return int(stat.get("inactive_file", "0"))
    return 0


def _rounded_down(number: float) -> int:
    """To two digits: a few slots more than its transitions belong to a buffer too."""
    unit: int = 10 ** max(len(str(int(number))) - 2, 0)
    return int(number) // unit * unit
