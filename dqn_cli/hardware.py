"""The processor's cores."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")  # where Linux keeps the limits of containers


def available_cores() -> int:
    """How many cores this process may use, which may be fewer than the machine has.

    It may be bound to some of them, or be in a container that is given a share of their time.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    with suppress(OSError, ValueError):  # no container, or one without a limit
        time, period = map(int, (CGROUP / "cpu.max").read_text().split())
        return min(cores or 1, math.ceil(time / period))
    return cores or 1
