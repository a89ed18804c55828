"""The number of processor cores that are available."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # limits of the container, on Linux


def available_cores() -> int:
    """Return the number of cores that this process may use.

    The process may be bound to some cores, or its container may have a share of their time.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with suppress(OSError, ValueError):  # no container, or no limit
        time, period = map(int, (CGROUP / "cpu.max").read_text().split())
        return min(cores or 1, math.ceil(time / period))
    return cores or 1
