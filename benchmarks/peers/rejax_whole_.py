"""Run the whole of rejax's training, without evaluation, and report what it did."""

from __future__ import annotations

import json
import sys

from rejax_loop import make_training
from settings import SETTINGS

replaces = "--replace" in sys.argv
state, train = make_training(SETTINGS[sys.argv[1]], int(sys.argv[2]), 1, replaces)
print(json.dumps({"updates": int(train(state).q_ts.step)}))
