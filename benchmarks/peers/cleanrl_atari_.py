"""Time CleanRL's dqn_atari.py from the checkout in CLEANRL."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import ale_py  # noqa: F401  (registers its games)
import gymnasium
from settings import ATARI, ATARI_CLASSIC_ID
from timed import watch_calls

watch_calls(gymnasium.vector.SyncVectorEnv, "step", int(sys.argv[2]), int(sys.argv[3]))
checkout = Path(os.environ["CLEANRL"])
sys.path.insert(0, str(checkout))
source = (checkout / "cleanrl" / "dqn_atari.py").read_text()
sys.argv = [
    "dqn_atari.py",
    "--no-cuda",
    f"--env-id={ATARI_CLASSIC_ID}",
    f"--learning-rate={ATARI.lr}",
    f"--buffer-size={ATARI.buffer}",
    f"--gamma={ATARI.gamma}",
    f"--target-network-frequency={ATARI.target_every}",
    f"--batch-size={ATARI.batch}",
    f"--start-e={ATARI.epsilon}",
    f"--end-e={ATARI.epsilon}",
    f"--learning-starts={ATARI.starts}",
    f"--train-frequency={ATARI.train_every}",
    "--total-timesteps=100000000",
]
exec(compile(source, "dqn_atari.py", "exec"), {"__name__": "__main__", "__file__": "dqn_atari.py"})
