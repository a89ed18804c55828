"""Building one environment from its configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np

from dqn_cli.agent.spaces import Spaces
from dqn_cli.envs.preprocessing import AnyEnv, Atari, Images, Preprocess
from dqn_cli.envs.space_adapter import adapt
from dqn_cli.ranges import Count

# `async` is a word of Python's own, so this Enum can't be written as a class.
Vectorization = Enum("Vectorization", ["sync", "async", "native"])

# What comes in an extra: the prefix of its ids, the module they need, and the extra's name.
EXTRAS = (("MinAtar/", "minatar", "minatar"), ("ALE/", "ale_py", "atari"))


class EnvironmentFailure(Exception):
    """An environment can't be made, or answered something that no run can go on with."""


@dataclass
class EnvConfig:
    """Which environment, what is seen of it, and how many copies of it are stepped together."""

    id: str
    kwargs: dict[str, Any]
    num_envs: Count
    vectorization: Vectorization
    preprocess: Preprocess

    @property
    def in_one_process(self) -> EnvConfig:
        """The same, without processes of their own."""
        is_async = self.vectorization is Vectorization["async"]
        return replace(self, vectorization=Vectorization["sync"]) if is_async else self


def is_ale(env_id: str) -> bool:
    """Whether an id is that of a game of the Arcade Learning Environment, by whatever module."""
    return env_id.rpartition(":")[2].startswith("ALE/")


def make(config: EnvConfig, **kwargs: Any) -> tuple[AnyEnv, Spaces]:
    """The environment, adapted to a Q-network; EnvironmentFailure says why it can't be."""
    check_installed(config)
    preprocess = config.preprocess
    if isinstance(preprocess, Atari) and not is_ale(config.id):
        raise EnvironmentFailure(
            f"env={config.id}: this protocol is for the games of ALE; use protocol=image or none"
        )
    arguments = {"disable_env_checker": True} | preprocess.arguments | config.kwargs | kwargs
    try:
        env = preprocess.applied(gymnasium.make(config.id, **arguments))
        return adapt(env, preprocess.frames)
    except Exception as error:  # an environment's constructor may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EnvironmentFailure(f"env={config.id}: {reason}") from error


def check_installed(config: EnvConfig) -> None:
    """EnvironmentFailure, with what to install, if something is missing."""
    if missing := missing_extra(config.id):
        raise EnvironmentFailure(f"env={config.id} {missing}")
    if isinstance(config.preprocess, Images) and find_spec("cv2") is None:
        extra = "atari" if isinstance(config.preprocess, Atari) else "image"
        raise EnvironmentFailure(f"this protocol needs an extra: pip install 'dqn-train[{extra}]'")


def missing_extra(env_id: str) -> str | None:
    """What has to be installed for this environment; None if it is there or nobody knows."""
    for prefix, module, extra in EXTRAS:
        if env_id.startswith(prefix) and find_spec(module) is None:
            return f"needs an extra: pip install 'dqn-train[{extra}]'"
    return None


def storage_dtype(space: gymnasium.Space[Any], dtype: str) -> np.dtype[Any]:
    """What observations are stored as: bytes stay bytes, all else becomes `dtype`."""
    return np.dtype(np.uint8) if space.dtype == np.uint8 else np.dtype(dtype)
