"""Imported into each process of a population: its environments get the stopwatch."""

from __future__ import annotations

import multiprocessing
import os

from timed import watch

from dqn_cli.hardware import available_cores

MEMBERS = 16
if "FIRST_STEP" in os.environ and multiprocessing.parent_process() is not None:
    here = MEMBERS // available_cores()  # members in this process
    watch(int(os.environ["FIRST_STEP"]) * here, int(os.environ["LAST_STEP"]) * here)
