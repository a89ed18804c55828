"""Start the timer in each process of a population that imports this module."""

from __future__ import annotations

import multiprocessing
import os

from timed import watch

from dqn_cli.hardware import available_cores

MEMBERS = 16
if "FIRST_STEP" in os.environ and multiprocessing.parent_process() is not None:
    members = MEMBERS // available_cores()  # in this process
    watch(int(os.environ["FIRST_STEP"]) * members, int(os.environ["LAST_STEP"]) * members)
