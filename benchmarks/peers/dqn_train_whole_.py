"""Run the whole dqn-train command, without evaluation, and report what it did."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

from settings import SETTINGS, dqn_train_words

from dqn_cli.commands.train import dispatch

with tempfile.TemporaryDirectory() as folder:
    words = [
        *dqn_train_words(SETTINGS[sys.argv[1]], steps=int(sys.argv[2])),
        "eval.every=null",
        f"threads={os.environ['OMP_NUM_THREADS']}",
        f"hydra.run.dir={folder}/run",
    ]
    if code := dispatch(words):
        sys.exit(code)
    result = json.loads((Path(folder) / "run" / "result.json").read_text())
print(json.dumps({"updates": result["updates"]}))
