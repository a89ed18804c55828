from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dqn_cli.agent.clock import Clock
from dqn_cli.training.building import build_run
from dqn_cli.training.loop import (
    Tick,
    current_epsilon,
    finished,
    horizon,
    learning_rate_factor,
    train,
    updates_due,
)
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
STATES, ACTIONS, GAMMA = 6, 3, 0.9
# A tabular learner whose tables are exact: each update moves one value halfway to its target.
TABULAR = (
    "network=table",
    "target=none",
    "optimizer=sgd",
    "optimizer.lr=0.25",
    "update.loss=squared",
    "update.max_grad_norm=null",
    "exploration=constant",
    "exploration.start=1",
    "learning_starts=0",
    f"gamma={GAMMA}",
)


class RandomMdp(gymnasium.Env[np.int64, np.int64]):
    """Known transitions; the last state ends an episode; action 2 is illegal in state 0."""

    observation_space = gymnasium.spaces.Discrete(STATES)
    action_space = gymnasium.spaces.Discrete(ACTIONS)
    next_state = np.random.default_rng(5).integers(0, STATES, (STATES, ACTIONS))
    reward = np.random.default_rng(6).uniform(-1, 1, (STATES, ACTIONS))

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = int(self.np_random.integers(STATES - 1))
        return np.int64(self.state), self.info()

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        assert self.info()["action_mask"][action], "an illegal action was taken"
        reward = float(self.reward[self.state, action])
        self.state = int(self.next_state[self.state, action])
        return np.int64(self.state), reward, self.state == STATES - 1, False, self.info()

    def info(self) -> dict[str, Any]:
        mask = np.ones(ACTIONS, np.int8)
        mask[2] = self.state != 0
        return {"action_mask": mask}


class Endless(gymnasium.Env[np.int64, np.int64]):
    """One state, reward 1 for ever; only a time limit ends an episode."""

    observation_space = gymnasium.spaces.Discrete(1)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        super().reset(seed=seed)
        return np.int64(0), {}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        return np.int64(0), 1.0, False, False, {}


@pytest.fixture(autouse=True)
def environments() -> Iterator[None]:
    gymnasium.register("RandomMdp-v0", RandomMdp, max_episode_steps=4)
    gymnasium.register("Endless-v0", Endless, max_episode_steps=5)
    yield
    del gymnasium.registry["RandomMdp-v0"], gymnasium.registry["Endless-v0"]


def optimal_q() -> NDArray[np.float64]:
    """Value iteration to the fixed point; the time limit truncates and so changes nothing."""
    q = np.zeros((STATES, ACTIONS))
    legal = np.ones((STATES, ACTIONS), bool)
    legal[0, 2] = False
    for _ in range(500):
        value = np.where(legal, q, -np.inf).max(1)
        value[STATES - 1] = 0  # nothing follows the end
        q = RandomMdp.reward + GAMMA * value[RandomMdp.next_state]
    return q


def learned_q(settings: Settings) -> NDArray[np.float64]:
    _, run = build_run(settings)
    for _ in train(settings, run):
        pass
    run.envs.close()
    states = np.eye(run.envs.spaces.observation_size, dtype=settings.dtype.name)
    return run.learner.q(states[None])[0]


@pytest.mark.parametrize(
    "words",
    [
        ("replay.capacity=1", "replay.batch_size=1", "steps=6000"),
        ("replay.batch_size=32", "steps=3000", "target=hard", "target.every=20"),
        ("replay.batch_size=32", "steps=3000", "target=soft", "target.tau=0.2"),
        ("replay.batch_size=32", "steps=3000", "update=double", "env.num_envs=3"),
        ("replay.batch_size=32", "steps=3000", "network=mlp", "network.dueling=true",
         "network.widths=[32]", "optimizer=adam", "optimizer.lr=5e-3", "optimizer.schedule=linear",
         "target=hard", "target.every=20"),
    ],
)  # fmt: skip
def test_learns_the_optimal_values_of_a_known_mdp(settings_of: Compose, words: list[str]) -> None:
    settings = settings_of("env=RandomMdp-v0", *TABULAR, "dtype=float64", *words)
    q, best = learned_q(settings), optimal_q()
    legal = np.ones((STATES, ACTIONS), bool)
    legal[STATES - 1] = legal[0, 2] = False  # never taken, so never learned
    np.testing.assert_allclose(q[legal], best[legal], atol=0.05)


def test_truncation_does_not_cut_the_bootstrap(settings_of: Compose) -> None:
    # 1 + gamma + gamma^2 + ... = 10; had the time limit counted as an end, at most 4.1.
    q = learned_q(settings_of("env=Endless-v0", *TABULAR, "steps=2000", "replay.batch_size=8"))
    np.testing.assert_allclose(q, 10, rtol=0.01)


def test_termination_cuts_the_bootstrap(settings_of: Compose) -> None:
    settings = settings_of("env=RandomMdp-v0", *TABULAR, "steps=3000", "gamma=0.5")
    q = learned_q(settings)
    ends = RandomMdp.next_state == STATES - 1
    ends[STATES - 1] = ends[0, 2] = False
    np.testing.assert_allclose(q[ends], RandomMdp.reward[ends], atol=0.01)


def ticks(settings: Settings) -> list[Tick]:
    _, run = build_run(settings)
    seen = list(train(settings, run))
    run.envs.close()
    return seen


def test_updates_begin_after_learning_starts_and_come_in_rounds(settings_of: Compose) -> None:
    settings = settings_of(
        "steps=40", "learning_starts=10", "train_every=4", "updates_per_train=3",
        "replay.batch_size=2", "network.widths=[4]",
    )  # fmt: skip
    trained = [tick.now.steps for tick in ticks(settings) if tick.metrics]
    assert trained == [12, 16, 20, 24, 28, 32, 36, 40]
    assert all(len(tick.metrics) in (0, 3) for tick in ticks(settings))


def test_no_update_before_a_batch_is_there(settings_of: Compose) -> None:
    settings = settings_of(
        "steps=30", "learning_starts=0", "train_every=1", "updates_per_train=1",
        "replay.batch_size=20", "network.widths=[4]",
    )  # fmt: skip
    assert next(tick.now.steps for tick in ticks(settings) if tick.metrics) == 20


def test_several_environments_cross_several_multiples(settings_of: Compose) -> None:
    settings = settings_of(
        "steps=40", "env.num_envs=5", "learning_starts=10", "train_every=2",
        "updates_per_train=1", "replay.batch_size=2", "network.widths=[4]",
    )  # fmt: skip
    seen = ticks(settings)
    assert [tick.now.steps for tick in seen] == [5, 10, 15, 20, 25, 30, 35, 40]
    # In (10, 15] lie 12 and 14, in (15, 20] lie 16, 18 and 20.
    assert [len(tick.metrics) for tick in seen] == [0, 0, 2, 3, 2, 3, 2, 3]


def test_a_run_ends_at_steps_or_episodes_whichever_is_first(settings_of: Compose) -> None:
    by_steps = ticks(settings_of("steps=30", "episodes=100"))
    by_episodes = ticks(settings_of("env=Endless-v0", "steps=1000", "episodes=3"))
    assert by_steps[-1].now.steps == 30
    assert by_episodes[-1].now == Clock(steps=15, updates=0, episodes=3)


def test_epsilon_is_one_until_learning_starts_then_follows_its_schedule(
    settings_of: Compose,
) -> None:
    settings = settings_of(
        "steps=40", "learning_starts=10", "exploration.start=0.8", "exploration.end=0.2",
        "exploration.duration=20", "replay.batch_size=2",
    )  # fmt: skip
    seen = [tick.epsilon for tick in ticks(settings)]
    assert seen[:10] == [1.0] * 10
    assert seen[10] == pytest.approx(0.8)
    assert seen[20] == pytest.approx(0.5)
    assert seen[30:] == pytest.approx([0.2] * 10)


def test_a_fraction_of_the_run_is_counted_in_its_unit(settings_of: Compose) -> None:
    settings = settings_of(
        "steps=1100", "learning_starts=100", "train_every=4", "updates_per_train=2"
    )
    assert horizon(settings) == Clock(steps=1100, updates=500, episodes=0)


def test_progress_and_the_learning_rate(settings_of: Compose) -> None:
    settings = settings_of("steps=100", "episodes=10", "optimizer.schedule=linear")
    assert learning_rate_factor(settings, Clock(steps=25)) == pytest.approx(0.75)
    assert learning_rate_factor(settings, Clock(steps=25, episodes=5)) == pytest.approx(0.5)
    assert not finished(settings, Clock(steps=99, episodes=9))
    assert finished(settings, Clock(steps=99, episodes=10))


def test_the_clock_counts_every_environment(settings_of: Compose) -> None:
    settings = settings_of("steps=60", "env=Endless-v0", "env.num_envs=4")
    assert ticks(settings)[-1].now == Clock(steps=60, updates=0, episodes=12)


def test_no_update_is_due_between_rounds(settings_of: Compose) -> None:
    settings = settings_of("learning_starts=0", "train_every=10", "replay.batch_size=1")
    _, run = build_run(settings)
    run.clock = Clock(steps=9)
    assert updates_due(settings, Clock(steps=8), run) == 0
    assert current_epsilon(settings, run) < 1
    run.envs.close()
    assert torch.isfinite(run.learner.state.parameters).all()


def test_a_batch_as_large_as_the_buffer_is_learned_from_though_episodes_are_short(
    settings_of: Compose,
) -> None:
    words = (
        "replay.capacity=32",
        "replay.batch_size=32",
        "learning_starts=0",
        "network.widths=[4]",
    )
    seen = ticks(settings_of("env=RandomMdp-v0", "steps=200", *words))
    assert len(seen[-1].metrics) == 1
