"""Time a population of dqn-train, with steps and memory summed over its processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile

from settings import SETTINGS, dqn_train_words
from watched import MEMBERS

from dqn_cli.hardware import available_cores

setting, first, last = SETTINGS[sys.argv[1]], sys.argv[2], sys.argv[3]
with tempfile.TemporaryDirectory() as folder:
    words = [
        *("-m", f"seed=range({MEMBERS})", "hydra/launcher=population", "import=[watched]"),
        *dqn_train_words(setting),
        f"hydra.sweep.dir={folder}/sweep",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "dqn_cli.commands.train", *words],
        env=os.environ | {"FIRST_STEP": first, "LAST_STEP": last, "PYTHONPATH": sys.path[0]},
        capture_output=True,
        text=True,
    )
reports = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
if len(reports) < available_cores():
    sys.exit(done.stderr)
summed = {key: sum(report[key] for report in reports) for key in ("steps_per_second", "megabytes")}
costs = [report["cpu_seconds"] for report in reports]
slowest = {key: max(report[key] for report in reports) for key in ("launch", "until_first")}
print(json.dumps(summed | slowest | {"cpu_seconds": sum(costs) / len(costs)}))
