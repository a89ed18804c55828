"""Making a vector environment of an id or of a function."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from inspect import signature
from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode, VectorEnv

from dqn_cli.envs.contract import EnvironmentFailure, describe_error, shorten
from dqn_cli.envs.env_config import EnvConfig
from dqn_cli.envs.env_ids import vector_factory
from dqn_cli.envs.time_limits import MAKING, TimedCalls
from dqn_cli.interrupts import is_ours

AnyVector = VectorEnv[Any, Any, Any]
LIMIT = "max_episode_steps"
ATTRIBUTES = ("num_envs", "single_observation_space", "observation_space", "single_action_space")


def make_vector(config: EnvConfig, num_envs: int) -> AnyVector:
    """Make a vector environment of so many copies.

    Raises:
        EnvironmentFailure: It can't be made; the message says why in one line.
    """
    factory = vector_factory(config.id)
    kwargs = dict(config.kwargs)
    if config.max_episode_steps is not None and (factory is None or _takes_limit(factory)):
        kwargs[LIMIT] = config.max_episode_steps
    calls = TimedCalls(config.id, config.timeout)
    try:
        made = calls.limited(partial(_make, config.id, num_envs, factory, kwargs), MAKING)
    except EnvironmentFailure:  # its time was up
        raise
    except BaseException as error:  # the user's code may even raise SystemExit
        if is_ours(error):
            raise
        raise EnvironmentFailure(
            f"env={config.id}: a vector of {num_envs} copies can't be made: {describe_error(error)}"
        ) from error
    if not isinstance(made, VectorEnv):
        raise EnvironmentFailure(
            f"env={config.id} returned {shorten(made)}, which is no gymnasium.vector.VectorEnv"
        )
    if missing := [name for name in ATTRIBUTES if getattr(made, name, None) is None]:
        raise EnvironmentFailure(
            f"env={config.id} has no {missing[0]}, which a VectorEnv must have"
        )
    if made.num_envs != num_envs:
        made.close()
        raise EnvironmentFailure(
            f"env={config.id} made {made.num_envs} copies instead of {num_envs}"
        )
    return made


def _make(env_id: str, num_envs: int, factory: Any, kwargs: Mapping[str, Any]) -> Any:
    if factory is not None:
        return factory(num_envs=num_envs, **kwargs)
    with warnings.catch_warnings():  # about the mode of its resets, which is checked later
        warnings.simplefilter("ignore")
        return gymnasium.make_vec(
            env_id, num_envs, vectorization_mode="vector_entry_point", **kwargs
        )


def autoreset_mode(vector: AnyVector, env_id: str) -> AutoresetMode:
    """Return when a vector environment begins new episodes.

    Raises:
        EnvironmentFailure: It does not say.
    """
    mode = (vector.metadata or {}).get("autoreset_mode")
    try:
        return AutoresetMode(mode)
    except ValueError as error:
        raise EnvironmentFailure(
            f'env={env_id}: metadata["autoreset_mode"] is {mode}; it must be a member of'
            " gymnasium.vector.AutoresetMode"
        ) from error


def honours_limit(config: EnvConfig) -> bool:
    """Return whether the vector environment itself takes `max_episode_steps`."""
    factory = vector_factory(config.id)
    return factory is None or _takes_limit(factory)


def _takes_limit(factory: Any) -> bool:
    try:
        return LIMIT in signature(factory).parameters
    except (TypeError, ValueError):  # of compiled code
        return False
