from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import dqn_cli
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.policies import evaluate_checkpoint, find_checkpoint, is_named
from dqn_cli.storage import CheckpointError
from dqn_cli.training.randomness import Purpose

Typed = Callable[..., int]
SMALL = ("steps=150", "eval.episodes=2", "network.widths=[8]", "hydra.run.dir=run")


def test_a_loaded_policy_returns_actions_of_the_environment(
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


def test_discrete_observations_are_plain_numbers(type_train: Typed) -> None:
    type_train("env=FrozenLake-v1", *SMALL)
    assert dqn_cli.load_policy("run")(5) in range(4)


def test_a_masked_action_is_never_taken(type_train: Typed) -> None:
    type_train("env=FrozenLake-v1", *SMALL)
    policy = dqn_cli.load_policy("run")
    for action in range(4):
        assert policy(0, action_mask=np.eye(4)[action]) == action


def test_a_run_folder_stands_for_best_then_last(type_train: Typed, in_folder: Path) -> None:
    type_train(*SMALL)
    checkpoints = in_folder / "run" / "checkpoints"
    assert find_checkpoint(in_folder / "run").name == "best"
    assert find_checkpoint(checkpoints / "last").name == "last"
    (checkpoints / "best").unlink()
    assert find_checkpoint(in_folder / "run").name == "last"
    (checkpoints / "last").unlink()
    with pytest.raises(CheckpointError, match="no checkpoint yet"):
        find_checkpoint(in_folder / "run")


@pytest.mark.parametrize("words", [(), ("network=gru", "network.units=8")])
def test_a_loaded_policy_plays_the_episodes_that_evaluation_plays(
    type_train: Typed, in_folder: Path, words: tuple[str, ...]
) -> None:
    assert type_train("env=PositionCartPole-v1", *SMALL, *words) == 0
    path = in_folder / "run" / "checkpoints" / "last"
    expected = evaluate_checkpoint(path, 5, 3, ())["lengths"]
    env, policy, lengths = gymnasium.make("PositionCartPole-v1"), dqn_cli.load_policy(path), []
    for episode in range(5):
        obs, _ = env.reset(seed=episode_seeds(3, Purpose.final_evaluation.value, 0)(episode))
        policy.reset()
        steps, ended = 0, False
        while not ended:
            obs, _, terminated, truncated, _ = env.step(policy(obs))
            steps, ended = steps + 1, terminated or truncated
        lengths.append(steps)
    assert lengths == expected


@pytest.mark.parametrize(
    ("module", "is_allowed"),
    [("mine", True), ("mine.nets", True), ("mines", False), ("other.mine", False)],
)
def test_a_package_stands_for_its_modules(module: str, is_allowed: bool) -> None:
    assert is_named(module, ["mine"]) == is_allowed
