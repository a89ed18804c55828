"""A random MDP of 20 states with a known model, and the operators whose fixed points are tested.

Each action leads to one of two states. Some actions are illegal, some states end an episode, and a
time limit truncates it. The behaviour is uniform over legal actions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

STATES, ACTIONS, GAMMA, LIMIT = 20, 3, 0.9, 12
TERMINAL = (18, 19)

_random = np.random.default_rng(4)
REWARD: Array = _random.uniform(-1, 1, (STATES, ACTIONS))
NEXT = _random.integers(0, STATES, (STATES, ACTIONS, 2))
CHANCE = 0.7  # of the first of the two next states
LEGAL = _random.random((STATES, ACTIONS)) < 0.8
LEGAL[np.arange(STATES), _random.integers(0, ACTIONS, STATES)] = True
ALIVE = np.ones(STATES)
ALIVE[list(TERMINAL)] = 0
LEARNED = LEGAL & (ALIVE > 0)[:, None]  # the pairs that are ever tried

BEHAVIOUR: Array = LEGAL / LEGAL.sum(1, keepdims=True)


class KnownMdp(gymnasium.Env[np.int64, np.int64]):
    """The MDP; an episode starts in any state that does not end one.

    With `coin`, the next state is random. Without it, the visits of each pair of state and action
    lead to its two next states in a fixed order, with the true shares, over all environments. So a
    finite run has hardly any sampling error. A recurrent network would learn to predict this order.
    """

    due: Array = np.zeros((STATES, ACTIONS))

    observation_space = gymnasium.spaces.Discrete(STATES)
    action_space = gymnasium.spaces.Discrete(ACTIONS)

    def __init__(self, scale: float = 1.0, coin: bool = False) -> None:
        self.scale, self.coin = scale, coin  # scale of the rewards

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.int64, dict[str, Any]]:
        super().reset(seed=seed)
        self.state = int(self.np_random.choice(np.flatnonzero(ALIVE)))
        return np.int64(self.state), {"action_mask": LEGAL[self.state].astype(np.int8)}

    def step(self, action: np.int64) -> tuple[np.int64, float, bool, bool, dict[str, Any]]:
        assert LEGAL[self.state, action], "an illegal action was taken"
        reward = float(REWARD[self.state, action]) * self.scale
        self.due[self.state, action] += CHANCE
        first = self.due[self.state, action] >= 1
        if self.coin:
            first = self.np_random.random() < CHANCE
        self.due[self.state, action] -= first
        self.state = int(NEXT[self.state, action, 0 if first else 1])
        info = {"action_mask": LEGAL[self.state].astype(np.int8)}
        return np.int64(self.state), reward, self.state in TERMINAL, False, info


def after(value: Array) -> Array:
    """Return the expected value of the next state, [states, actions]; it is 0 after an end."""
    value = value * ALIVE
    return CHANCE * value[NEXT[..., 0]] + (1 - CHANCE) * value[NEXT[..., 1]]


def best(q: Array) -> Array:
    """Return the largest legal value of each state."""
    return np.where(LEGAL, q, -np.inf).max(1)


def scaled_log_policy(q: Array, temperature: float) -> Array:
    """Return temperature times the log of the softmax policy, -inf where illegal."""
    q = np.where(LEGAL, q, -np.inf)
    gap = q - q.max(1, keepdims=True)
    return gap - temperature * np.log(np.exp(gap / temperature).sum(1, keepdims=True))


def soft(q: Array, temperature: float = 0.03) -> Array:
    """Return Munchausen's value of a state: sum_a pi (q - temperature log pi)."""
    log_policy = scaled_log_policy(q, temperature)
    policy = np.exp(log_policy / temperature)
    return np.where(LEGAL, policy * (q - np.where(LEGAL, log_policy, 0)), 0).sum(1)


def bonus(q: Array, alpha: float = 0.9, temperature: float = 0.03, clip: float = -1) -> Array:
    """Return Munchausen's addition to the reward of each action."""
    return alpha * np.clip(scaled_log_policy(q, temperature), clip, 0)


def presence() -> Array:
    """Return the probability of each state after 0, 1, ... steps of an episode, [LIMIT, states]."""
    now = ALIVE / ALIVE.sum()
    seen = []
    for _ in range(LIMIT):
        seen.append(now)
        flow = (now * ALIVE)[:, None] * BEHAVIOUR
        later = np.zeros(STATES)
        np.add.at(later, NEXT[..., 0], CHANCE * flow)
        np.add.at(later, NEXT[..., 1], (1 - CHANCE) * flow)
        now = later * ALIVE
    return np.stack(seen)


# Distribution of the number of steps before a state is visited, [LIMIT, states].
WHEN: Array = presence() / np.maximum(presence().sum(0), 1e-12)


def n_step(q: Array, n: int, value: Callable[[Array], Array] = best) -> Array:
    """Return the mean n-step return of the behaviour; fewer steps remain close to the time limit.

    The remaining steps differ from visit to visit, so the returns are averaged over WHEN.
    """
    total = np.zeros((STATES, ACTIONS))
    for time in range(LIMIT):
        ahead = value(q)
        for _ in range(min(n, LIMIT - time) - 1):
            ahead = (BEHAVIOUR * (REWARD + GAMMA * after(ahead))).sum(1)
        total += WHEN[time][:, None] * (REWARD + GAMMA * after(ahead))
    return total


def peng(q: Array, trace_decay: float, length: int) -> Array:
    """Return the mean lambda return of the behaviour, over places in rollouts of `length`."""
    total = np.zeros((STATES, ACTIONS))
    for place in range(length):
        for time in range(LIMIT):
            following = best(q)
            for _ in range(min(length - place, LIMIT - time) - 1):
                mixed = (1 - trace_decay) * best(q) + trace_decay * following
                following = (BEHAVIOUR * (REWARD + GAMMA * after(mixed))).sum(1)
            mixed = (1 - trace_decay) * best(q) + trace_decay * following
            total += WHEN[time][:, None] / length * (REWARD + GAMMA * after(mixed))
    return total


def fixed_point(operator: Callable[[Array], Array]) -> Array:
    """Return the fixed point of the operator, [states, actions]."""
    q = np.zeros((STATES, ACTIONS))
    for _ in range(2000):
        new = operator(q)
        if np.abs(new - q)[LEARNED].max() < 1e-9:
            return new
        q = np.where(LEARNED, new, 0)
    raise AssertionError("the operator has no fixed point")
