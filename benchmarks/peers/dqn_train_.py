"""Time the dqn-train command, with logging and checkpoints but without evaluation."""

from __future__ import annotations

import os
import sys
import tempfile

from settings import SETTINGS, dqn_train_words
from timed import watch

from dqn_cli.commands.train import dispatch

setting, first, last = SETTINGS[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
watch(first, last)
with tempfile.TemporaryDirectory() as folder:
    overrides = (f"threads={os.environ['OMP_NUM_THREADS']}", f"hydra.run.dir={folder}/run")
    dispatch([*dqn_train_words(setting), *overrides])
