from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import dqn_cli
from dqn_cli.policies import checkpoint_at
from dqn_cli.storage import CheckpointError

Typed = Callable[..., int]
SMALL = ("steps=150", "eval.episodes=2", "network.widths=[8]", "hydra.run.dir=run")


def test_a_loaded_policy_acts_as_evaluation_does(
    type_train: Typed, type_eval: Typed, in_folder: Path
) -> None:
    type_train(*SMALL)
    policy = dqn_cli.load_policy("run")
    env = gymnasium.make("CartPole-v1")
    obs, _ = env.reset(seed=1)
    actions = set()
    for _ in range(5):
        action = policy(obs)
        assert env.action_space.contains(action)
        actions.add(int(np.asarray(action)))
        obs, *_ = env.step(action)
    assert actions <= {0, 1}


def test_discrete_observations_are_given_as_they_are(type_train: Typed) -> None:
    type_train("env=FrozenLake-v1", *SMALL)
    assert dqn_cli.load_policy("run")(5) in range(4)


def test_a_mask_is_obeyed(type_train: Typed) -> None:
    type_train("env=FrozenLake-v1", *SMALL)
    policy = dqn_cli.load_policy("run")
    for action in range(4):
        assert policy(0, action_mask=np.eye(4)[action]) == action


def test_a_run_folder_means_best_then_last(type_train: Typed, in_folder: Path) -> None:
    type_train(*SMALL)
    checkpoints = in_folder / "run" / "checkpoints"
    assert checkpoint_at(in_folder / "run").name == "best"
    assert checkpoint_at(checkpoints / "last").name == "last"
    (checkpoints / "best").unlink()
    assert checkpoint_at(in_folder / "run").name == "last"
    (checkpoints / "last").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        checkpoint_at(in_folder / "run")
