"""Training on observations of several parts and scales: `pytest -m slow`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import parts
import pytest
from side_by_side import without_twice

import dqn_cli

Typed = Callable[..., int]
BEST = float(parts.STEPS)  # of Parts-v0
COMMON = (
    "gamma=0", "learning_starts=300", "train_every=2", "updates_per_train=1", "optimizer.lr=1e-3",
    "replay.batch_size=32", "replay.capacity=5000", "network.channels=[16,16,16]",
    "network.features=32", "network.widths=[64,64]", "eval.every=1000", "eval.episodes=40",
    "compile=false",
)  # fmt: skip
EPSILON = ("exploration.duration=0.5", "exploration.end=0.05")
AGENTS = {
    "dqn": ("agent=dqn", *EPSILON),
    "rainbow": ("agent=rainbow", "head.v_min=-1", "head.v_max=2"),
    "drqn": ("agent=drqn", "network.units=32", "network.length=5", "network.burn_in=0",
             *EPSILON),
}  # fmt: skip


def mean_of(folder: Path) -> float:
    return float(json.loads((folder / "result.json").read_text())["best"]["mean"])


def returns_of(policy: Any, env: gymnasium.Env[Any, Any], episodes: int) -> float:
    """The mean return of a loaded policy."""
    total = 0.0
    for seed in range(episodes):
        obs, _ = env.reset(seed=seed)
        policy.reset()
        ended = False
        while not ended:
            obs, reward, terminated, truncated, _ = env.step(policy(obs))
            ended, total = terminated or truncated, total + float(reward)
    return total / episodes


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize(("side", "steps"), [(12, 6000), (84, 4000)])
def test_a_picture_and_a_vector_that_only_together_tell_the_action_are_learned(
    type_train: Typed, in_folder: Path, agent: str, side: int, steps: int
) -> None:
    words = (*COMMON, *AGENTS[agent], "env=parts:Parts-v0", f"+env.kwargs.side={side}")
    assert type_train(*words, f"steps={steps}", "hydra.run.dir=run") == 0
    assert mean_of(in_folder / "run") >= 0.95 * BEST
    assert returns_of(dqn_cli.load_policy("run"), parts.Parts(side), 40) >= 0.95 * BEST


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_population_learns_pictures_and_vectors_too(type_train: Typed, in_folder: Path) -> None:
    words = (*COMMON, *AGENTS["dqn"], "env=parts:Parts-v0", "steps=6000", "hydra.sweep.dir=sweep")
    assert type_train(*words, "seed=1,2", "-m") == 0
    folders = [path.parent for path in (in_folder / "sweep").rglob("result.json")]
    assert len(folders) == 2
    for folder in folders:
        assert mean_of(folder) >= 0.95 * BEST


MARKET = (
    "gamma=0", "steps=4000", "learning_starts=300", "train_every=1", "updates_per_train=1",
    "optimizer.lr=1e-3", "network.widths=[32,32]", "replay.batch_size=32", "replay.capacity=4000",
    "exploration.duration=0.5", "eval.every=1000", "eval.episodes=100", "compile=false",
)  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("agent", ["agent=dqn", "agent=pqn"])
def test_numbers_of_any_scale_are_learned_from_as_those_of_scale_one(
    type_train: Typed, in_folder: Path, agent: str
) -> None:
    own = ("env.num_envs=8", "train_every=128", "updates_per_train=16") if "pqn" in agent else ()
    words, means, played = [*without_twice(*MARKET, *own), agent, "env=parts:Market-v0"], [], []
    for name, scale, normalize in (("one", 1.0, "none"), ("large", 1e4, "running")):
        kind = (f"+env.kwargs.scale={scale}", f"env.normalize={normalize}")
        assert type_train(*words, *kind, f"hydra.run.dir={name}") == 0
        means.append(mean_of(in_folder / name))
        policy = dqn_cli.load_policy(name)
        played.append(returns_of(policy, gymnasium.make("Market-v0", scale=scale), 100))
        # At 2 the price is at its mean.
        below_and_above = np.array([[scale * 0.5, 0], [scale * 3.5, 0]], np.float32)
        assert policy(below_and_above).tolist() == [1, 0]
    assert means[1] >= 0.97 * means[0] > 0
    assert played[1] >= 0.97 * played[0] > 0
