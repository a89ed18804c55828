"""Measure how the cost of an update, with its sampling, grows with the replay buffer.

python benchmarks/growth.py [ROUNDS]

The settings are A of benchmarks/speed.py, with uniform and prioritised replay of 10,000 and
1,000,000 transitions. Updates are compiled, and sizes alternate.
"""

from __future__ import annotations

import sys

import numpy as np
import torch
from floor import SETTINGS, UNIFORM, call_time, make_update

from dqn_cli.replay.prioritised import Prioritised, Priority
from dqn_cli.replay.samplers import ReplayDevice

SMALL, LARGE = 10_000, 1_000_000
KINDS = {
    "uniform": UNIFORM,
    "prioritised": Prioritised(
        SMALL, 1, 1, ReplayDevice.cpu, 0.6, 0.4, 1.0, Priority.td_error, 1e-6
    ),
}


def main() -> None:
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    width, batch = SETTINGS["A"]
    for name, replay in KINDS.items():
        small = make_update(width, batch, replay=replay, capacity=SMALL)
        large = make_update(width, batch, replay=replay, capacity=LARGE)
        small(), large()
        times = np.array([(call_time(small), call_time(large)) for _ in range(rounds)])  # us
        ratio = np.sort(times[:, 1] / times[:, 0])
        least, most = np.median(times, axis=0)
        print(
            f"{name}: {least:.0f} us with {SMALL:,} transitions, {most:.0f} us with {LARGE:,},"
            f" ratio {np.median(ratio):.2f} [{ratio[0]:.2f}, {ratio[-1]:.2f}]"
        )


if __name__ == "__main__":
    main()
