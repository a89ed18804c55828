"""Time CleanRL's dqn.py from the checkout in CLEANRL, with the network's widths changed."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from settings import SETTINGS
from timed import watch

setting, first, last = SETTINGS[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
if setting.updates != 1:
    sys.exit("dqn.py makes one update at a time")
watch(first, last)

checkout = Path(os.environ["CLEANRL"])
sys.path.insert(0, str(checkout))
source = (checkout / "cleanrl" / "dqn.py").read_text()
for width, wanted in zip(("120", "84"), setting.widths, strict=True):
    source = source.replace(f"{width})", f"{wanted})").replace(f"({width},", f"({wanted},")
sys.argv = [
    "dqn.py",
    "--no-cuda",
    f"--env-id={setting.env.replace('LunarLander-v3', 'LunarLander-v2')}",  # Gymnasium 0.29's
    f"--learning-rate={setting.lr}",
    f"--buffer-size={setting.buffer}",
    f"--gamma={setting.gamma}",
    f"--target-network-frequency={setting.target_every}",
    f"--batch-size={setting.batch}",
    f"--start-e={setting.epsilon}",
    f"--end-e={setting.epsilon}",
    f"--learning-starts={setting.starts}",
    f"--train-frequency={setting.train_every}",
    "--total-timesteps=100000000",
]
exec(compile(source, "dqn.py", "exec"), {"__name__": "__main__", "__file__": "dqn.py"})
