"""Memory: what a replay buffer needs, found out before a run begins and not hours later."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import psutil
import torch

CGROUP = Path("/sys/fs/cgroup")  # where Linux keeps the limits of containers
SPARE = 0.05  # of what is free, for everything else


def check_memory(capacity: int, needed: int, device: str = "cpu") -> None:
    """ValueError if a buffer for so many transitions, of so many bytes, does not fit."""
    free = free_bytes(device)
    if needed > (1 - SPARE) * free:
        fits = int(capacity * (1 - SPARE) * free / needed)
        raise ValueError(
            f"replay.capacity={capacity} needs {needed / 1e9:.1f} GB of memory, and"
            f" {free / 1e9:.1f} GB are free: replay.capacity={fits} fits"
        )


def free_bytes(device: str = "cpu") -> int:
    """Memory that this process could still take."""
    if device == "cuda":
        return torch.cuda.mem_get_info()[0]
    free = int(psutil.virtual_memory().available)
    with suppress(OSError, ValueError):  # no container, or one without a limit
        limit, used = (int((CGROUP / f"memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, limit - used)
    return free
