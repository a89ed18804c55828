"""Building one environment from its configuration."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np

from dqn_cli.agent.spaces import Spaces
from dqn_cli.envs.spaces import AnyEnv, adapt
from dqn_cli.ranges import Count

# `async` is a word of Python's own, so this Enum can't be written as a class.
Vectorization = Enum("Vectorization", ["sync", "async"])


class EnvironmentFailure(Exception):
    """An environment can't be made, or answered something that no run can go on with."""


@dataclass
class EnvConfig:
    """Which environment, and how many copies of it are stepped together."""

    id: str
    kwargs: dict[str, Any]
    num_envs: Count
    vectorization: Vectorization


def make(config: EnvConfig, **kwargs: Any) -> tuple[AnyEnv, Spaces]:
    """The environment, adapted to a Q-network; EnvironmentFailure says why it can't be."""
    if config.id.startswith("MinAtar/") and find_spec("minatar") is None:
        raise EnvironmentFailure(
            f"env={config.id} needs an extra: pip install 'dqn-train[minatar]'"
        )
    arguments = {"disable_env_checker": True} | config.kwargs | kwargs
    try:
        return adapt(gymnasium.make(config.id, **arguments))
    except Exception as error:  # an environment's constructor may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EnvironmentFailure(f"env={config.id}: {reason}") from error


def storage_dtype(space: gymnasium.Space[Any], dtype: str) -> np.dtype[Any]:
    """What observations are stored as: bytes stay bytes, all else becomes `dtype`."""
    return np.dtype(np.uint8) if space.dtype == np.uint8 else np.dtype(dtype)
