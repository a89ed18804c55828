"""Adapting an environment's spaces to a Q-network: one array in, one of n actions out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import FrameStackObservation, TransformAction, TransformObservation

from dqn_cli.agent.spaces import Spaces
from dqn_cli.envs.action_decoder import ActionDecoder
from dqn_cli.envs.masks import JointMask
from dqn_cli.envs.observation_encoder import Channels, ObservationEncoder
from dqn_cli.envs.preprocessing import AnyEnv
from dqn_cli.text import one_line


def adapt_spaces(
    env: AnyEnv,
    frames: int = 0,
    drop: Sequence[str] = (),
    channels: Channels = Channels.auto,
) -> tuple[AnyEnv, Spaces]:
    """Give an environment array observations and actions 0 to n - 1.

    Args:
        env: Any environment with discrete actions.
        frames: Observations to stack on a first axis of time; 0 adds no such axis.
        drop: Names of parts of observations that are left out.
        channels: Axis of the colors of pictures.

    Returns:
        The adapted environment, and its spaces.

    Raises:
        ValueError: The actions are continuous or too many, or no network reads the observations.
    """
    decoder = ActionDecoder(env.action_space)
    encoder = ObservationEncoder(env.observation_space, drop, channels)
    adapted = Spaces(
        encoder.parts,
        decoder.count,
        frames,
        describe_space(env.observation_space),
        describe_space(env.action_space),
    )
    if not encoder.is_identity:
        env = TransformObservation(env, encoder, encoder.box)
    if frames:
        # An environment may write each observation into the same array, so the stack needs copies.
        env = TransformObservation(env, np.array, env.observation_space)
        # Frames before an episode are zeros, as in batches from the replay stream.
        env = FrameStackObservation(env, frames, padding_type="zero")
    if not decoder.is_identity:
        env = TransformAction(env, decoder, spaces.Discrete(decoder.count))
        env = JointMask(env, decoder.joint_mask)
    return env, adapted


def describe_space(space: gymnasium.Space[Any]) -> dict[str, Any]:
    """Describe a space as plain data for a checkpoint.

    Raises:
        ValueError: A part has a name that can't be stored.
    """
    kind = type(space).__name__
    if isinstance(space, spaces.Dict):
        names: list[Any] = list(space)
        for key in names:
            if type(key) is not int and not (type(key) is str and key.isprintable()):
                raise ValueError(
                    f"a part of {one_line(space)} has the name {key!r}; names must be"
                    " text of one line or whole numbers"
                )
        return {"type": "Dict", "parts": {key: describe_space(part) for key, part in space.items()}}
    if isinstance(space, spaces.Tuple):
        return {"type": "Tuple", "parts": [describe_space(part) for part in space.spaces]}
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        nvec, start = space.nvec.tolist(), space.start.tolist()
        return {"type": "MultiDiscrete", "nvec": nvec, "start": start, "dtype": str(space.dtype)}
    if isinstance(space, spaces.MultiBinary):
        return {"type": "MultiBinary", "shape": list(space.shape)}
    if isinstance(space, spaces.Box):
        return {"type": "Box", "shape": list(space.shape), "dtype": str(space.dtype)}
    return {"type": kind}


def restore_space(data: Any) -> gymnasium.Space[Any]:
    """Return a space that is encoded as the described one; bounds of boxes are not restored."""
    kind = data["type"]
    if kind == "Dict":
        # Of a dict, Gymnasium would sort the keys, which a space need not have sorted.
        return spaces.Dict([(key, restore_space(part)) for key, part in data["parts"].items()])
    if kind == "Tuple":
        return spaces.Tuple([restore_space(part) for part in data["parts"]])
    if kind == "Discrete":
        return spaces.Discrete(data["n"], start=data["start"])
    if kind == "MultiDiscrete":
        nvec, start, dtype = np.array(data["nvec"]), np.array(data["start"]), data["dtype"]
        return spaces.MultiDiscrete(nvec, dtype=np.dtype(dtype).type, start=start)
    if kind == "MultiBinary":
        return spaces.MultiBinary(data["shape"])
    if kind == "Box":
        dtype = np.dtype(data["dtype"])
        low, high = (0, 1) if dtype.kind in "bu" else (-np.inf, np.inf)
        return spaces.Box(low, high, tuple(data["shape"]), dtype.type)
    return spaces.Text(1)  # a part that is dropped; any of these stands for it
