from __future__ import annotations

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.recordings import EpsilonPolicy
from dqn_cli.training.randomness import Purpose, Randomness


def always_two(obs: Array, mask: Array, episode_start: Array) -> Array:
    return np.full(len(obs), 2)


def test_a_share_of_actions_is_random_and_legal() -> None:
    mask = np.array([[True, False, True, True]] * 4)
    policy = EpsilonPolicy(always_two, 0.6, Randomness([0], Purpose.recording))
    starts = np.zeros(4, bool)
    chosen = np.concatenate([policy(np.zeros((4, 1)), mask, starts) for _ in range(1000)])
    shares = np.bincount(chosen, minlength=4) / chosen.size
    assert np.allclose(shares, [0.2, 0, 0.6, 0.2], atol=0.03)


def test_without_epsilon_every_action_is_the_policys() -> None:
    policy = EpsilonPolicy(always_two, 0.0, Randomness([0], Purpose.recording))
    mask = np.ones((3, 4), bool)
    assert policy(np.zeros((3, 1)), mask, np.zeros(3, bool)).tolist() == [2, 2, 2]
