"""An ensemble with priors finds what epsilon-greedy does not: deep sea (Osband et al. 2020)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from dqn_cli.training.build_run import build_run
from dqn_cli.training.loop import train
from dqn_cli.training.settings import Settings

SEEDS = 3
# A thousand episodes of twelve steps; random actions find the treasure in one of 4096.
SEA = (
    "env=deep_sea:DeepSea-v0", "network=table", "optimizer.lr=1e-2", "steps=12000", "tuned=none",
    "learning_starts=120", "train_every=4", "eval.every=null",
)  # fmt: skip


def treasures(settings: Settings) -> list[int]:
    """Trains members of different seeds; counts the treasures that each finds."""
    members = [replace(settings, seed=seed) for seed in range(SEEDS)]
    _, run = build_run(members)
    found = np.zeros(SEEDS, int)
    for report in train(members, run):
        assert report.step is not None
        found += (report.step.reward > 0.5).sum(1)
    run.envs.close()
    return found.tolist()


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_priors_explore_where_epsilon_and_an_ensemble_without_them_do_not(
    settings_of: Callable[..., Settings],
) -> None:
    greedy = ("agent=dqn", "exploration=constant", "exploration.start=0.1")
    assert treasures(settings_of(*SEA, *greedy)) == [0, 0, 0]
    assert treasures(settings_of(*SEA, "agent=bootstrapped", "head.prior=null")) == [0, 0, 0]
    assert min(treasures(settings_of(*SEA, "agent=bootstrapped"))) >= 20
