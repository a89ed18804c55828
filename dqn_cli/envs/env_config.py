"""Making one environment from its configuration."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from importlib.util import find_spec
from typing import Any, NoReturn

import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit

from dqn_cli.agent.normalization import Normalization
from dqn_cli.agent.spaces import Spaces
from dqn_cli.envs.contract import Contract, EnvironmentFailure, describe_error, with_contract
from dqn_cli.envs.env_ids import is_ale, missing_extra, vector_factory
from dqn_cli.envs.masks import MaskSource, with_mask_in_info
from dqn_cli.envs.preprocessing import AnyEnv, Atari, Protocol, Resized
from dqn_cli.envs.space_adapter import adapt_spaces
from dqn_cli.envs.wrappers import apply_wrappers, parse_wrappers
from dqn_cli.interrupts import is_ours
from dqn_cli.ranges import Count, Positive, Real
from dqn_cli.text import one_line

# `async` is a keyword of Python, so this Enum can't be written as a class.
Vectorization = Enum("Vectorization", ["sync", "async", "native"])


@dataclass
class EnvConfig:
    """An environment, its preprocessing, and how many copies are stepped together."""

    id: str
    kwargs: dict[str, Any]
    num_envs: Count
    vectorization: Vectorization
    preprocess: Protocol
    mask: MaskSource
    drop: list[str] = field(default_factory=list)  # parts of observations
    normalize: Normalization = Normalization.none
    reward_scale: Positive = 1
    normalize_reward: bool = False
    wrappers: list[Any] = field(default_factory=list)  # module:Class, or {module:Class: {k: v}}
    max_episode_steps: Count | None = None  # None: the environment's own limit
    min_return: Real | None = None  # lowest discounted return; None: unknown
    max_return: Real | None = None  # highest discounted return; None: unknown
    timeout: Positive | None = None  # seconds of one call of the environment

    def __post_init__(self) -> None:
        """Raise ValueError if an entry of `wrappers` names no wrapper."""
        parse_wrappers(self.wrappers)

    @property
    def modules(self) -> dict[str, str]:
        """Modules of the user's own code, by the id or wrapper that names each."""
        wrappers = parse_wrappers(self.wrappers)
        named = {spec.name: spec.module for spec in wrappers if not spec.is_harmless}
        module, separator, _ = self.id.rpartition(":")
        return named | ({self.id: module} if separator else {})

    @property
    def is_native_vector(self) -> bool:
        """True for a vector environment that is not a game of ALE."""
        is_native = self.vectorization is Vectorization.native
        return is_native and not isinstance(self.preprocess, Atari)

    @property
    def in_one_process(self) -> EnvConfig:
        """This configuration with single environments in one process, if there are any."""
        is_async = self.vectorization is Vectorization["async"]
        if is_async or (self.is_native_vector and vector_factory(self.id) is None):
            return replace(self, vectorization=Vectorization["sync"])
        return self


def make_env(config: EnvConfig, **kwargs: Any) -> tuple[AnyEnv, Spaces]:
    """Make the environment and adapt its spaces to a Q-network.

    Args:
        config: The environment and its preprocessing.
        kwargs: Arguments of gymnasium.make, which override those of the configuration.

    Raises:
        EnvironmentFailure: It can't be made; the message says why in one line.
    """
    env, preprocess = make_own_env(config, **kwargs), config.preprocess
    try:
        return adapt_spaces(env, preprocess.frames, config.drop, preprocess.color_axis)
    except BaseException as error:
        _raise_failure(config, error)


def make_own_env(config: EnvConfig, **kwargs: Any) -> AnyEnv:
    """Make the environment with all wrappers, its mask in `info`, and spaces of its own.

    Raises:
        EnvironmentFailure: As make_env.
    """
    check_installed(config)
    preprocess = config.preprocess
    if isinstance(preprocess, Atari) and not is_ale(config.id):
        raise EnvironmentFailure(
            f"env={config.id}: this protocol needs a game of ALE;"
            " use protocol=image or protocol=none"
        )
    make_kwargs = {"disable_env_checker": True} | preprocess.make_kwargs | config.kwargs
    limit = config.max_episode_steps
    skips_frames = isinstance(preprocess, Resized) and preprocess.frame_skip > 1
    if limit is not None:  # gymnasium.make counts every frame
        make_kwargs["max_episode_steps"] = -1 if skips_frames else limit
    try:
        env = with_contract(gymnasium.make(config.id, **make_kwargs | kwargs), config.id)
        if config.wrappers:
            env = Contract(apply_wrappers(env, config.wrappers), f"{config.id} with env.wrappers")
        env = preprocess.wrap(with_mask_in_info(env, config.id, config.mask))
        if limit is not None and skips_frames:
            env = TimeLimit(env, limit)
        return env
    except BaseException as error:  # an environment's constructor may even raise SystemExit
        _raise_failure(config, error)


def check_installed(config: EnvConfig) -> None:
    """Raise an EnvironmentFailure that says what to install, if anything is missing."""
    if missing := missing_extra(config.id):
        raise EnvironmentFailure(f"env={config.id} {missing}")
    if isinstance(config.preprocess, Resized) and find_spec("cv2") is None:
        extra = "atari" if isinstance(config.preprocess, Atari) else "image"
        raise EnvironmentFailure(f"this protocol needs an extra: pip install 'dqn-train[{extra}]'")


def observation_dtype(spaces: Spaces, dtype: str) -> np.dtype[Any]:
    """Return the dtype of observations: uint8 if all their parts are bytes, else `dtype`."""
    return np.dtype(np.uint8 if all(part.is_bytes for part in spaces.parts) else dtype)


def _raise_failure(config: EnvConfig, error: BaseException) -> NoReturn:
    if is_ours(error):
        raise error
    reason = f"making it raised {describe_error(error)}"
    if isinstance(error, Exception):
        reason = one_line(error) or type(error).__name__
    raise EnvironmentFailure(f"env={config.id}: {reason}") from error
