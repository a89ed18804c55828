"""The numbers of processor cores that are available, and of threads that are wanted."""

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


def wanted_threads() -> int | None:
    """Return the number of threads that the environment asks for, or None if it doesn't.

    OpenMP's own variable is also what joblib and Ray set for several jobs on one machine.
    """
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    return int(first) if first.isdecimal() and int(first) else None


def share_cores() -> None:
    """Let this process and its children take one core, unless a launcher gave it more."""
    if wanted_threads() is None:
        os.environ["OMP_NUM_THREADS"] = os.environ.get("SLURM_CPUS_PER_TASK", "1")
