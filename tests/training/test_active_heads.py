from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from dqn_cli.training.active_heads import ActiveHeads
from dqn_cli.training.build_run import build_run
from dqn_cli.training.loop import train
from dqn_cli.training.settings import Settings

HEADS = 5


class Uneven(gymnasium.Env[Any, Any]):
    """Episodes of 2 to 5 steps."""

    observation_space = gymnasium.spaces.Discrete(6)
    action_space = gymnasium.spaces.Discrete(HEADS)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.left = int(self.np_random.integers(2, 6))
        return np.int64(self.left), {}

    def step(self, action: Any) -> Any:
        self.left -= 1
        return np.int64(self.left), 0.0, self.left == 0, False, {}


@pytest.fixture(autouse=True)
def uneven() -> Iterator[None]:
    gymnasium.register("Uneven-v0", Uneven)
    yield
    del gymnasium.registry["Uneven-v0"]


def test_a_head_stays_until_an_episode_begins() -> None:
    heads = ActiveHeads(4, (1, 3))
    assert heads.heads.tolist() == [[0, 0, 0]]
    heads.draw(np.array([[True, True, True]]), np.array([[0.0, 0.5, 0.999]]))
    assert heads.heads.tolist() == [[0, 2, 3]]
    heads.draw(np.array([[False, True, False]]), np.array([[0.9, 0.3, 0.1]]))
    assert heads.heads.tolist() == [[0, 1, 3]]


def test_values_are_those_of_the_head_of_each_environment() -> None:
    heads = ActiveHeads(2, (1, 2))
    heads.draw(np.ones((1, 2), bool), np.array([[0.0, 0.9]]))
    q = np.arange(12.0).reshape(1, 2, 3, 2)  # [members, envs, actions, heads]
    assert heads.values(q).tolist() == [[[0, 2, 4], [7, 9, 11]]]


def actions_of(settings: list[Settings]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Trains; returns actions and ends of episodes, [members, envs, steps] each."""
    _, run = build_run(settings)
    # Head k values action k alone, whatever is observed.
    table = np.zeros((len(settings), 6, HEADS, HEADS), np.float32) + np.eye(HEADS, dtype=np.float32)
    parameters = run.learner.state.parameters
    parameters.copy_(parameters.new_tensor(table.reshape(len(settings), -1)))
    actions, ended = [], []
    for report in train(settings, run):
        assert report.step is not None
        actions.append(run.action.copy())
        ended.append(report.step.ended)
    run.envs.close()
    return np.stack(actions, 2), np.stack(ended, 2)


WORDS = (
    "env=Uneven-v0", "agent=bootstrapped", f"head.heads={HEADS}", "head.prior=null",
    "network=table", "env.num_envs=3", "steps=600", "learning_starts=0", "replay.batch_size=999",
    "tuned=none",
)  # fmt: skip


def test_each_episode_of_each_environment_and_member_follows_one_head(
    settings_of: Callable[..., Settings],
) -> None:
    members = [settings_of(*WORDS, "seed=1"), settings_of(*WORDS, "seed=2")]
    actions, ended = actions_of(members)
    begins = ended  # the action after a step that ends an episode is the first of the next one
    changes = np.diff(actions, axis=2) != 0
    assert not changes[~begins[..., 1:]].any()
    # A new head is another one in four of five cases.
    assert changes[begins[..., 1:]].mean() == pytest.approx(0.8, abs=0.1)
    counts = np.bincount(actions[begins], minlength=HEADS) / begins.sum()
    assert counts == pytest.approx(np.full(HEADS, 0.2), abs=0.07)
    assert not np.array_equal(actions[:, 0], actions[:, 1])
    # Side by side as alone.
    alone, _ = actions_of([members[1]])
    assert np.array_equal(alone[0], actions[1])


def test_epsilon_comes_on_top(settings_of: Callable[..., Settings]) -> None:
    actions, ended = actions_of([settings_of(*WORDS, "exploration.start=1", "exploration.end=1")])
    within = ~ended[..., 1:]
    assert (np.diff(actions, axis=2) != 0)[within].mean() == pytest.approx(0.8, abs=0.1)
