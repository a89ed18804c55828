"""dqn-train, from its own command, with everything that it does beside training but evaluation."""

from __future__ import annotations

import sys
import tempfile

from settings import SETTINGS
from timed import watch

from dqn_cli.commands.train import dispatch

setting, first, last = SETTINGS[sys.argv[1]], int(sys.argv[2]), int(sys.argv[3])
watch(first, last)
with tempfile.TemporaryDirectory() as folder:
    dispatch(
        [
            f"env={setting.env}",
            f"network.widths=[{setting.widths[0]},{setting.widths[1]}]",
            f"replay.batch_size={setting.batch}",
            f"replay.capacity={setting.buffer}",
            "replay.n_step=1",
            f"learning_starts={setting.starts}",
            f"train_every={setting.train_every}",
            f"updates_per_train={setting.updates}",
            f"optimizer.lr={setting.lr}",
            "optimizer.schedule=constant",
            "target=hard",
            f"target.every={setting.target_every}",
            "target.unit=steps",
            f"gamma={setting.gamma}",
            "exploration=constant",
            f"exploration.start={setting.epsilon}",
            "steps=1000000",
            "eval.every=1000000",
            f"hydra.run.dir={folder}/run",
        ]
    )
