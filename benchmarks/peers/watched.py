"""Imported into each process of a population: its environments get the stopwatch."""

from __future__ import annotations

import multiprocessing
import os

from timed import watch

MEMBERS = 16
if "FIRST_STEP" in os.environ and multiprocessing.parent_process() is not None:
    here = MEMBERS // len(os.sched_getaffinity(0))  # members in this process
    watch(int(os.environ["FIRST_STEP"]) * here, int(os.environ["LAST_STEP"]) * here)
