from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

import dqn_cli
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.model import Model
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.parameters import size
from dqn_cli.agent.recurrent import Gru
from dqn_cli.agent.spaces import Spaces
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.evaluation.greedy_policy import GreedyPolicy
from dqn_cli.policies import Policy, evaluate_checkpoint, find_checkpoint
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


def recurrent_policy() -> Policy:
    """Returns a policy of 5 actions, which depend on all observations before."""
    spaces = Spaces((2,), (-1, -1), (1, 1), False, (5,), (0,), False, 0)
    model = Model(spaces, Gru([], False, False, False, False, 0.5, 8, 2, 3), Scalar(Loss.huber))
    parameters = torch.randn(size(model.layout), generator=torch.Generator().manual_seed(1))
    return Policy(GreedyPolicy(model, parameters))


def choices(policy: Policy, observations: np.ndarray) -> list[int]:
    return [int(np.asarray(policy(obs))) for obs in observations]


def test_reset_clears_the_state_of_a_recurrent_policy() -> None:
    policy, observations = recurrent_policy(), np.random.default_rng(0).normal(size=(20, 2))
    first = choices(policy, observations)
    assert choices(policy, observations) != first  # the state depends on the observations before
    for _ in range(2):
        policy.reset()
        assert choices(policy, observations) == first
    policy.reset()
    policy.reset()
    assert choices(policy, observations) == first


def test_resetting_a_new_policy_changes_nothing() -> None:
    observations = np.random.default_rng(1).normal(size=(20, 2))
    new, reset = recurrent_policy(), recurrent_policy()
    reset.reset()
    assert choices(new, observations) == choices(reset, observations)


def test_resetting_a_feedforward_policy_changes_nothing() -> None:
    spaces = Spaces((2,), (-1, -1), (1, 1), False, (3,), (0,), False, 0)
    model = Model(spaces, Mlp([4], False, False, False, False, 0.5), Scalar(Loss.huber))
    parameters = torch.randn(size(model.layout), generator=torch.Generator().manual_seed(0))
    policy = Policy(GreedyPolicy(model, parameters))
    observations = np.random.default_rng(2).normal(size=(20, 2))
    first = choices(policy, observations)
    assert choices(policy, observations) == first
    policy.reset()
    assert choices(policy, observations) == first


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


class Matching(gymnasium.Env[Any, Any]):
    """Pays for the action with the number that a nested, masked observation shows."""

    def __init__(self) -> None:
        self.observation_space = spaces.Dict(
            rest=spaces.Tuple([spaces.Box(-1, 1, (2,), np.float64), spaces.Discrete(3, start=-1)]),
            action_mask=spaces.MultiBinary(4),
        )
        self.action_space = spaces.Discrete(4, start=5)

    def answer(self) -> tuple[Any, dict[str, Any]]:
        self.number = int(self.np_random.integers(3))
        noise = self.np_random.uniform(-1, 1, 2)
        mask = np.array([1, 1, 1, 0], np.int8)
        return {"rest": (noise, np.int64(self.number - 1)), "action_mask": mask}, {}

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.steps = 0
        return self.answer()

    def step(self, action: Any) -> Any:
        assert action in (5, 6, 7), "an illegal action was taken"
        reward = float(action - 5 == self.number)
        self.steps += 1
        obs, info = self.answer()
        return obs, reward, False, self.steps >= 10, info


@pytest.fixture
def matching() -> Iterator[None]:
    gymnasium.register("Matching-v0", Matching)
    yield
    del gymnasium.registry["Matching-v0"]


def test_a_policy_takes_what_the_environment_emits(type_train: Typed, matching: None) -> None:
    words = ("learning_starts=100", "optimizer.lr=3e-3", "network.widths=[32]", "compile=false")
    assert type_train("env=Matching-v0", *words, "steps=1500", "hydra.run.dir=run") == 0
    policy, env, total = dqn_cli.load_policy("run"), Matching(), 0.0
    obs, _ = env.reset(seed=3)
    for _ in range(10):
        action = policy(obs)
        assert action in (5, 6, 7)
        obs, reward, *_ = env.step(action)
        total += reward
    assert total == 10.0
    flat = spaces.flatten(spaces.Dict(rest=env.observation_space["rest"]), {"rest": obs["rest"]})
    assert policy(np.asarray(flat), action_mask=obs["action_mask"]) == policy(obs)


def test_a_policy_refuses_observations_that_do_not_fit(type_train: Typed, matching: None) -> None:
    assert type_train("env=Matching-v0", *SMALL) == 0
    policy = dqn_cli.load_policy("run")
    with pytest.raises(ValueError, match=r"part rest.1 is 2; declared is Discrete\(3, start=-1\)"):
        policy({"rest": (np.zeros(2), 2)})
