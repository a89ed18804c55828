"""Short runs of small networks, for tests that compare devices."""

from __future__ import annotations

from dataclasses import replace

from conftest import STREAMING

from dqn_cli.training.build_run import build_run
from dqn_cli.training.loop import Run, train
from dqn_cli.training.settings import Settings

SHORT = (
    "steps=40", "learning_starts=20", "train_every=4", "updates_per_train=1", "reset.every=32",
    "replay.capacity=200", "replay.batch_size=4",
)  # fmt: skip
SMALL = (*SHORT, "network.widths=[12,8]")
OWN = {
    "drqn": ("network.units=6", "network.length=4", "network.burn_in=2"),
    "pqn": ("env.num_envs=2", "train_every=16"),
    "stream_q": STREAMING[1:],
    "adaptive_q": STREAMING[1:],
}
IMAGES = ("env=pictures:Pictures-v0", "env.preprocess.stack=2", "network.channels=[2,2,2]")


def trained(settings: Settings, members: int, steps: int = 10**9) -> Run:
    """Train members of different seeds, up to a number of steps."""
    group = [replace(settings, seed=seed) for seed in range(members)]
    _, run = build_run(group)
    for report in train(group, run):
        if report.now[0].steps >= steps:
            break
    run.envs.close()
    return run
