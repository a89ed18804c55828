"""Memory: a check that the replay buffer fits, and settings of the allocator."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress

import psutil
import torch

from dqn_cli.hardware import CGROUP

RESERVED_SHARE = 0.05  # of the free memory, for everything but the replay buffer
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # values of the constants in C


def check_memory(capacity: int, needed: int, device: str = "cpu") -> None:
    """Check that a replay buffer fits into memory.

    Args:
        capacity: Its transitions.
        needed: Its bytes.
        device: "cpu" or "cuda".

    Raises:
        ValueError: It does not fit; the message names a capacity that does.
    """
    free = free_bytes(device)
    if needed > (1 - RESERVED_SHARE) * free:
        fits = _round_to_two_digits(capacity * (1 - RESERVED_SHARE) * free / needed)
        raise ValueError(
            f"replay.capacity={capacity} needs {needed / 1e9:.1f} GB of memory, and"
            f" {free / 1e9:.1f} GB are free: replay.capacity={fits} fits"
        )


def check_data_memory(path: str, needed: int, device: str = "cpu") -> None:
    """Check that logged data fit into memory.

    Raises:
        ValueError: They don't.
    """
    free = free_bytes(device)
    if needed > (1 - RESERVED_SHARE) * free:
        raise ValueError(
            f"data={path} needs {needed / 1e9:.1f} GB of memory, and {free / 1e9:.1f} GB are free"
        )


def free_bytes(device: str = "cpu") -> int:
    """Return the memory that this process can still allocate."""
    if device == "cuda":
        return int(torch.cuda.mem_get_info()[0])
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):  # no container, or no limit
        limit, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, limit - used + _page_cache_bytes())
    return max(free, 0)


def keep_large_blocks() -> None:
    """Let glibc reuse large blocks of memory; call this before the first tensor is made.

    To align a large block, glibc splits off its ends and gives them to small objects. The block
    then fits no other large request, so memory grows with every update. With this setting, PyTorch
    aligns large blocks to whole pages and nothing is split off.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    with suppress(AttributeError, OSError, TypeError):  # another C library
        libc = ctypes.CDLL(None)
        # Freed blocks stay with the process: the system would clear their pages for every update.
        libc.mallopt(M_MMAP_THRESHOLD, 2**25)
        libc.mallopt(M_TRIM_THRESHOLD, 2**28)


def _page_cache_bytes() -> int:
    """Return the cache of files in a container's memory, which the kernel gives back."""
    with suppress(OSError, ValueError):
        stat = dict(line.split() for line in (CGROUP / "memory.stat").read_text().splitlines())
        return int(stat.get("inactive_file", "0"))
    return 0


def _round_to_two_digits(number: float) -> int:
    """Round down, which leaves space for the buffer's few slots beyond its transitions."""
    unit: int = 10 ** max(len(str(int(number))) - 2, 0)
    return int(number) // unit * unit
