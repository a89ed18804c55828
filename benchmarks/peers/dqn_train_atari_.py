"""Time the dqn-train command on Atari, with logging and checkpoints but without evaluation."""

from __future__ import annotations

import os
import sys
import tempfile

from settings import ATARI, dqn_train_words
from timed import watch_calls

from dqn_cli.commands.train import dispatch
from dqn_cli.envs.native_atari import NativeAtari

first, last, words = int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
watch_calls(NativeAtari, "step", first, last)
with tempfile.TemporaryDirectory() as folder:
    threads = f"threads={os.environ['OMP_NUM_THREADS']}"
    dispatch([*dqn_train_words(ATARI), threads, f"hydra.run.dir={folder}/run", *words])
