"""Start the timer in each process of a population that imports this module."""

from __future__ import annotations

import multiprocessing
import os

from timed import watch

from dqn_cli.hardware import available_cores

MEMBERS = 16
members = MEMBERS // available_cores()  # in each process
# On one core the members are trained by the process that began, otherwise by its children.
trains_here = members == MEMBERS or multiprocessing.parent_process() is not None
if "FIRST_STEP" in os.environ and trains_here:
    watch(int(os.environ["FIRST_STEP"]) * members, int(os.environ["LAST_STEP"]) * members)
