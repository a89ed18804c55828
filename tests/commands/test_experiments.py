"""Every experiment, typed as its first line says but for sizes: it trains, saves and reports."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from conftest import STREAMING

from dqn_cli.config.paths import config_folder
from dqn_cli.storage import load_checkpoint

EXPERIMENTS = sorted(path.stem for path in (config_folder() / "experiment").glob("*.yaml"))
STEPS = 60
SHORT = (
    f"steps={STEPS}", "learning_starts=20", "replay.capacity=200", "replay.batch_size=4",
    "eval.every=1000", "eval.episodes=1", "eval.max_episode_steps=5", "checkpoint.every=1000",
    "log.every=20", "threads=1", "hydra.run.dir=run",
)  # fmt: skip
OFTEN = ("train_every=2", "updates_per_train=1")
ROLLOUT = ("train_every=16", "updates_per_train=2", "env.num_envs=2")
FRAMES = ("env.preprocess.size=40", "network.channels=[2,2,2]", "network.widths=[8]")
SOON_FOLLOWED = ("auxiliary.spr.steps=2", "head.atoms=5", "reset.every=30")
# What each needs to be small and soon done; tabular has neither batches nor layers.
OWN = {
    "bbf": (*OFTEN, *FRAMES, "network.scale=1", *SOON_FOLLOWED),
    "spr": (*OFTEN, *FRAMES, *SOON_FOLLOWED),
    "sr_spr": (*OFTEN, *FRAMES, *SOON_FOLLOWED),
    "btr": ("env.num_envs=2", *OFTEN, *FRAMES, "network.scale=1", "head.atoms=4"),
    "clip-one": OFTEN,
    "data_efficient_rainbow": (*OFTEN, *FRAMES),
    "episode-decay": OFTEN,
    "hard-mse-exponential": OFTEN,
    "iqn_atari": (*OFTEN, *FRAMES, "head.atoms=4"),
    "linear-steps": OFTEN,
    "nature_dqn": (*OFTEN, *FRAMES),
    "no_replay": (),
    "no_target_network": OFTEN,
    "pong_cpu": (*ROLLOUT, *FRAMES),
    "pqn_atari": (*ROLLOUT, *FRAMES),
    "pqn_hadamax_atari": (*ROLLOUT, *FRAMES),
    "pqn_hadamax_minatar": (*ROLLOUT, "network.channels=[2]", "network.widths=[8]"),
    "pqn_minatar": (*ROLLOUT, "network.channels=[2]", "network.widths=[8]"),
    "rainbow_atari": (*OFTEN, *FRAMES),
    "soft-huber": OFTEN,
    # A trace is zeros where an episode has just ended, which with this seed none has.
    "stream_q_minatar": (*STREAMING[1:], "network.channels=[2]", "network.widths=[8]", "seed=1"),
    "tabular": (),
    "width-study": OFTEN,
}


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_each_trains_and_reports(type_train: Callable[..., int], name: str) -> None:
    assert type_train(f"+experiment={name}", *SHORT, *OWN[name]) == 0
    result = json.loads(Path("run/result.json").read_text())
    assert result["status"] == "finished"
    assert STEPS <= result["steps"] < STEPS + 2
    assert result["updates"] >= 4
    learner = load_checkpoint(Path("run/checkpoints/last"))["learner"]
    assert torch.isfinite(learner["parameters"]).all()
    assert learner["moments"].any() or name == "tabular"  # whose optimiser has no momentum
