from __future__ import annotations

import math

import numpy as np
import pytest

from dqn_cli.arrays import Array
from dqn_cli.replay.stream import EnvStep
from dqn_cli.training.reward_normalizer import RewardNormalizer


def step(
    rewards: list[list[float]], ended: Array | None = None, is_reset: Array | None = None
) -> EnvStep:
    reward = np.array(rewards, np.float32)
    no = np.zeros(reward.shape, bool)
    obs, mask = np.zeros((*reward.shape, 1)), np.ones((*reward.shape, 2), bool)
    ends = no if ended is None else ended
    return EnvStep(reward, ends, no, no, obs, mask, obs, mask, is_reset=is_reset)


def test_rewards_are_divided_by_the_deviation_of_discounted_sums() -> None:
    random, gamma = np.random.default_rng(0), np.array([0.9, 0.5])
    normalizer = RewardNormalizer(gamma, 3)
    sums, seen = np.zeros((2, 3)), [[], []]  # type: ignore[var-annotated]
    for _ in range(40):
        reward, ended = random.normal(2, 3, (2, 3)), random.random((2, 3)) < 0.2
        found = normalizer.normalize(step(reward.tolist(), ended)).reward
        sums = gamma[:, None] * sums + reward.astype(np.float32)
        for member in range(2):
            seen[member] += sums[member].tolist()
            expected = reward[member] / math.sqrt(np.var(seen[member], ddof=1) + 1e-8)
            assert found[member].tolist() == pytest.approx(expected.tolist(), rel=1e-5)
        sums[ended] = 0


def test_the_first_reward_stays_as_it_is() -> None:
    found = RewardNormalizer(np.array([0.9]), 1).normalize(step([[5.0]])).reward
    assert found.dtype == np.float32
    assert found.item() == pytest.approx(5)


def test_a_step_that_only_begins_an_episode_counts_for_nothing() -> None:
    one, other = (RewardNormalizer(np.array([0.9]), 1) for _ in range(2))
    for value in (1.0, 4.0):
        one.normalize(step([[value]]))
        other.normalize(step([[value]]))
    yes = np.ones((1, 1), bool)
    one.normalize(step([[0.0]], yes))
    other.normalize(step([[0.0]], yes))
    one.normalize(step([[0.0]], is_reset=yes))
    assert one.statistics.tolist() == other.statistics.tolist()
