"""Fitting an environment's spaces to a Q-network: numbers in, one of n actions out."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation, TransformAction

from dqn_cli.agent.spaces import Spaces

LARGEST_ACTION_SPACE = 10_000

AnyEnv = gymnasium.Env[Any, Any]


def adapt(env: AnyEnv) -> tuple[AnyEnv, Spaces]:
    """The environment with array observations and actions 0 to n - 1, and what these stand for.

    Raises ValueError for continuous actions, too many actions, or observations of another kind.
    """
    actions = env.action_space
    parts, starts = _actions(actions)
    one_hot = isinstance(env.observation_space, spaces.Discrete)
    env = _array_observations(env)
    box = env.observation_space
    assert isinstance(box, spaces.Box)
    low, high = (tuple(bound.astype(float).ravel().tolist()) for bound in (box.low, box.high))
    composite = isinstance(actions, spaces.MultiDiscrete)
    described = Spaces(tuple(box.shape), low, high, one_hot, parts, starts, composite)
    if composite or starts != (0,):
        shape = actions.shape

        def taken(index: int) -> Any:
            return np.array(described.action(index), actions.dtype).reshape(shape or ())[()]

        env = TransformAction(env, taken, spaces.Discrete(described.actions))
    return env, described


def _array_observations(env: AnyEnv) -> AnyEnv:
    space = env.observation_space
    if isinstance(space, spaces.Box):
        return env
    flattened = (
        spaces.Discrete,
        spaces.MultiDiscrete,
        spaces.MultiBinary,
        spaces.Tuple,
        spaces.Dict,
    )
    if isinstance(space, flattened) and space.is_np_flattenable:
        return FlattenObservation(env)
    raise ValueError(
        f"observations are {space}, which can't be made one array; a DQN needs Box, Discrete,"
        " MultiDiscrete, MultiBinary, or a Tuple or Dict of them"
    )


def _actions(space: gymnasium.Space[Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if isinstance(space, spaces.Discrete):
        return (int(space.n),), (int(space.start),)
    if not isinstance(space, spaces.MultiDiscrete):
        raise ValueError(
            f"the action space is {space}; a DQN needs Discrete or MultiDiscrete actions,"
            " not continuous ones"
        )
    parts = tuple(int(n) for n in space.nvec.ravel())
    if math.prod(parts) > LARGEST_ACTION_SPACE:
        raise ValueError(
            f"the action space {space} has {math.prod(parts)} combinations; a DQN values each one,"
            f" and at most {LARGEST_ACTION_SPACE} are possible"
        )
    return parts, tuple(int(start) for start in np.ravel(space.start))
