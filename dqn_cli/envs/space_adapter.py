"""Fitting an environment's spaces to a Q-network: numbers in, one of n actions out."""

from __future__ import annotations

import math
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FlattenObservation, FrameStackObservation, TransformAction

from dqn_cli.agent.spaces import Spaces
from dqn_cli.arrays import Array
from dqn_cli.envs.preprocessing import AnyEnv

LARGEST_ACTION_SPACE = 10_000
MANY = 1_000  # elements of an observation whose bounds are not worth repeating


def adapt(env: AnyEnv, frames: int = 0) -> tuple[AnyEnv, Spaces]:
    """The environment with array observations and actions 0 to n - 1, and what these stand for.

    So many `frames` are stacked on a first axis of time, unless they are 0. Raises ValueError for
    continuous actions, too many actions, or observations of another kind.
    """
    actions = env.action_space
    parts, starts = _actions(actions)
    one_hot = isinstance(env.observation_space, spaces.Discrete)
    env = _array_observations(env)
    if frames:
        one_hot = False
        # Frames before an episode are zeros, as a stream's views have it too.
        env = FrameStackObservation(env, frames, padding_type="zero")
    box = env.observation_space
    assert isinstance(box, spaces.Box)
    low, high = _bounds(box.low), _bounds(box.high)
    composite = isinstance(actions, spaces.MultiDiscrete)
    described = Spaces(tuple(box.shape), low, high, one_hot, parts, starts, composite, frames)
    if composite or starts != (0,):
        shape = actions.shape

        def taken(index: int) -> Any:
            return np.array(described.action(index), actions.dtype).reshape(shape or ())[()]

        env = TransformAction(env, taken, spaces.Discrete(described.actions))
    return env, described


def _bounds(bound: Array) -> tuple[float, ...]:
    """A bound for each element, or one for all."""
    flat = bound.astype(float).ravel()
    return (
        (float(flat[0]),) if flat.size > MANY and (flat == flat[0]).all() else tuple(flat.tolist())
    )


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
