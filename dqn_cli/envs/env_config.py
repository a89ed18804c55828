"""Making one environment from its configuration."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np

from dqn_cli.agent.spaces import Spaces
from dqn_cli.envs.contract import EnvironmentFailure, with_contract
from dqn_cli.envs.env_ids import is_ale, missing_extra
from dqn_cli.envs.masks import MaskSource, with_mask_in_info
from dqn_cli.envs.preprocessing import AnyEnv, Atari, Images, Preprocess
from dqn_cli.envs.space_adapter import adapt_spaces
from dqn_cli.ranges import Count

# `async` is a keyword of Python, so this Enum can't be written as a class.
Vectorization = Enum("Vectorization", ["sync", "async", "native"])


@dataclass
class EnvConfig:
    """An environment, its preprocessing, and how many copies are stepped together."""

    id: str
    kwargs: dict[str, Any]
    num_envs: Count
    vectorization: Vectorization
    preprocess: Preprocess
    mask: MaskSource

    @property
    def in_one_process(self) -> EnvConfig:
        """This configuration without a process for each environment."""
        is_async = self.vectorization is Vectorization["async"]
        return replace(self, vectorization=Vectorization["sync"]) if is_async else self


def make_env(config: EnvConfig, **kwargs: Any) -> tuple[AnyEnv, Spaces]:
    """Make the environment and adapt its spaces to a Q-network.

    Args:
        config: The environment and its preprocessing.
        kwargs: Arguments of gymnasium.make, which override those of the configuration.

    Raises:
        EnvironmentFailure: It can't be made; the message says why in one line.
    """
    check_installed(config)
    preprocess = config.preprocess
    if isinstance(preprocess, Atari) and not is_ale(config.id):
        raise EnvironmentFailure(
            f"env={config.id}: this protocol needs a game of ALE;"
            " use protocol=image or protocol=none"
        )
    make_kwargs = {"disable_env_checker": True} | preprocess.make_kwargs | config.kwargs | kwargs
    try:
        env = with_contract(gymnasium.make(config.id, **make_kwargs), config.id)
        env = preprocess.wrap(with_mask_in_info(env, config.id, config.mask))
        return adapt_spaces(env, preprocess.frames)
    except Exception as error:  # an environment's constructor may raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise EnvironmentFailure(f"env={config.id}: {reason}") from error


def check_installed(config: EnvConfig) -> None:
    """Raise an EnvironmentFailure that says what to install, if anything is missing."""
    if missing := missing_extra(config.id):
        raise EnvironmentFailure(f"env={config.id} {missing}")
    if isinstance(config.preprocess, Images) and find_spec("cv2") is None:
        extra = "atari" if isinstance(config.preprocess, Atari) else "image"
        raise EnvironmentFailure(f"this protocol needs an extra: pip install 'dqn-train[{extra}]'")


def observation_dtype(space: gymnasium.Space[Any], dtype: str) -> np.dtype[Any]:
    """Return the dtype of stored observations: uint8 if the space has it, else `dtype`."""
    return np.dtype(np.uint8) if space.dtype == np.uint8 else np.dtype(dtype)
