"""Adapting an environment's spaces to a Q-network: one array in, one of n actions out."""

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

MAX_ACTIONS = 10_000
MAX_LISTED_BOUNDS = 1_000  # larger observations may share a single bound


def adapt_spaces(env: AnyEnv, frames: int = 0) -> tuple[AnyEnv, Spaces]:
    """Give an environment array observations and actions 0 to n - 1.

    Args:
        env: Any environment with discrete actions.
        frames: Observations to stack on a first axis of time; 0 adds no such axis.

    Returns:
        The adapted environment, and its spaces.

    Raises:
        ValueError: The actions are continuous or too many, or observations can't be flattened.
    """
    action_space = env.action_space
    action_sizes, action_starts = _action_parts(action_space)
    own_space = env.observation_space
    one_hot = isinstance(own_space, spaces.Discrete)
    env = _array_observations(env)
    source = None if env.observation_space is own_space or frames else describe_space(own_space)
    if frames:
        one_hot = False
        # Frames before an episode are zeros, as in batches from the replay stream.
        env = FrameStackObservation(env, frames, padding_type="zero")
    box = env.observation_space
    assert isinstance(box, spaces.Box)
    low, high = _bounds(box.low), _bounds(box.high)
    is_composite = isinstance(action_space, spaces.MultiDiscrete)
    adapted = Spaces(
        tuple(box.shape),
        low,
        high,
        one_hot,
        action_sizes,
        action_starts,
        is_composite,
        frames,
        source,
    )
    if is_composite or action_starts != (0,):
        shape, dtype = action_space.shape or (), action_space.dtype

        def to_env_action(index: int) -> Any:
            return np.array(adapted.action(index), dtype).reshape(shape)[()]  # [*shape]

        env = TransformAction(env, to_env_action, spaces.Discrete(adapted.actions))
    return env, adapted


def describe_space(space: gymnasium.Space[Any]) -> dict[str, Any]:
    """Describe a space of arrays, or of nested parts, as plain data for a checkpoint."""
    kind = type(space).__name__
    if isinstance(space, spaces.Dict):
        return {"type": kind, "parts": {key: describe_space(part) for key, part in space.items()}}
    if isinstance(space, spaces.Tuple):
        return {"type": kind, "parts": [describe_space(part) for part in space.spaces]}
    if isinstance(space, spaces.Discrete):
        return {"type": kind, "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        return {"type": kind, "nvec": space.nvec.tolist(), "start": space.start.tolist()}
    return {"type": kind, "shape": list(space.shape or ()), "dtype": str(space.dtype)}


def restore_space(data: Any) -> gymnasium.Space[Any]:
    """Return a space that flattens as the described one did; bounds of boxes are not restored."""
    kind = data["type"]
    if kind == "Dict":
        return spaces.Dict({key: restore_space(part) for key, part in data["parts"].items()})
    if kind == "Tuple":
        return spaces.Tuple([restore_space(part) for part in data["parts"]])
    if kind == "Discrete":
        return spaces.Discrete(data["n"], start=data["start"])
    if kind == "MultiDiscrete":
        nvec, start = np.array(data["nvec"]), np.array(data["start"])
        return spaces.MultiDiscrete(nvec, start=start)
    if kind == "MultiBinary":
        return spaces.MultiBinary(data["shape"])
    dtype = np.dtype(data["dtype"])
    low, high = (0, 1) if dtype.kind in "bu" else (-np.inf, np.inf)
    return spaces.Box(low, high, tuple(data["shape"]), dtype.type)


def _bounds(bound: Array) -> tuple[float, ...]:
    """Return a bound for each element, or a single one if a large observation shares it."""
    flat = bound.astype(float).ravel()
    if flat.size > MAX_LISTED_BOUNDS and (flat == flat[0]).all():
        return (float(flat[0]),)
    return tuple(flat.tolist())


def _array_observations(env: AnyEnv) -> AnyEnv:
    space = env.observation_space
    if isinstance(space, spaces.Box):
        return env
    flattenable = (
        spaces.Discrete,
        spaces.MultiDiscrete,
        spaces.MultiBinary,
        spaces.Tuple,
        spaces.Dict,
    )
    if isinstance(space, flattenable) and space.is_np_flattenable:
        return FlattenObservation(env)
    raise ValueError(
        f"observations are {space}, which can't be made one array; a DQN needs Box, Discrete,"
        " MultiDiscrete, MultiBinary, or a Tuple or Dict of them"
    )


def _action_parts(space: gymnasium.Space[Any]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the number of values and the first value of each part of an action."""
    if isinstance(space, spaces.Discrete):
        return (int(space.n),), (int(space.start),)
    if not isinstance(space, spaces.MultiDiscrete):
        raise ValueError(
            f"the action space is {space}; a DQN needs Discrete or MultiDiscrete actions,"
            " not continuous ones"
        )
    sizes = tuple(int(n) for n in space.nvec.ravel())
    if math.prod(sizes) > MAX_ACTIONS:
        raise ValueError(
            f"the action space {space} has {math.prod(sizes)} combinations; a DQN estimates the"
            f" value of each one, and at most {MAX_ACTIONS} are possible"
        )
    return sizes, tuple(int(start) for start in np.ravel(space.start))
