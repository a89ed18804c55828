"""Masks of legal actions, wherever an environment gives them."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn_cli.arrays import Array
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.preprocessing import AnyEnv

KEY = "action_mask"  # of `info`, and of a Dict observation
LATE = "is in a step's info, and must be there from the first reset on"
METHOD = "action_masks"  # of the environment, as in sb3-contrib


class MaskSource(Enum):
    """Place where an environment gives its mask of legal actions."""

    auto = "auto"
    info = "info"
    observation = "observation"
    method = "method"
    none = "none"


class MaskInInfo(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Moves a mask from an observation or a method into `info`, or removes it from there."""

    def __init__(self, env: AnyEnv, env_id: str, source: MaskSource) -> None:
        """Take the mask from `source`, which is not `info` or `auto`."""
        super().__init__(env)
        self._env_id, self._source = env_id, source
        if source is MaskSource.observation:
            assert isinstance(env.observation_space, spaces.Dict)
            parts = {key: part for key, part in env.observation_space.items() if key != KEY}
            self.observation_space = spaces.Dict(parts)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and move its mask."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._was_in_info = KEY in info
        return self._moved(obs, info)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment and move its mask."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        if KEY in info and not self._was_in_info and self._source is not MaskSource.none:
            raise _failure(self._env_id, LATE)  # two masks: which one the user means is unclear
        obs, info = self._moved(obs, info)
        return obs, reward, terminated, truncated, info

    def _moved(self, obs: Any, info: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        if self._source is MaskSource.observation:
            parts = {key: part for key, part in obs.items() if key != KEY}
            return parts, info | {KEY: obs[KEY]}
        if self._source is MaskSource.method:
            return obs, info | {KEY: self.env.get_wrapper_attr(METHOD)()}
        return obs, {key: value for key, value in info.items() if key != KEY}


def find_mask_source(env: AnyEnv, source: MaskSource) -> MaskSource:
    """Return the place where an environment's mask is read.

    `auto` takes a part `action_mask` of a Dict observation, else the method `action_masks`, else
    `info`.

    Raises:
        ValueError: The environment has no mask at the named place.
    """
    space = env.observation_space
    is_part = isinstance(space, spaces.Dict) and KEY in space.spaces
    has_method = env.has_wrapper_attr(METHOD) and callable(env.get_wrapper_attr(METHOD))
    if source is MaskSource.auto:
        found = MaskSource.method if has_method else MaskSource.info
        return MaskSource.observation if is_part else found
    if source is MaskSource.observation and not is_part:
        raise ValueError(f"env.mask=observation needs a Dict with a part {KEY}; it is {space}")
    if source is MaskSource.method and not has_method:
        raise ValueError(f"env.mask=method needs a method {METHOD}() of the environment")
    return source


class JointMask(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Makes one mask of all combinations from masks of an action's parts."""

    def __init__(self, env: AnyEnv, joint_mask: Callable[[Any], Array]) -> None:
        super().__init__(env)
        self._joint_mask = joint_mask

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and join its mask."""
        obs, info = self.env.reset(seed=seed, options=options)
        return obs, self._joined(info)

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment and join its mask."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        return obs, reward, terminated, truncated, self._joined(info)

    def _joined(self, info: dict[str, Any]) -> dict[str, Any]:
        return info | {KEY: self._joint_mask(info[KEY])} if KEY in info else info


def with_mask_in_info(env: AnyEnv, env_id: str, source: MaskSource) -> AnyEnv:
    """Return the environment with its mask of legal actions in `info`.

    Raises:
        ValueError: As find_mask_source.
    """
    source = find_mask_source(env, source)
    return env if source is MaskSource.info else MaskInInfo(env, env_id, source)


def legal_actions(
    info: dict[str, Any], actions: int, env_id: str, masked: bool = False, is_last: bool = False
) -> Array:
    """Return the mask of legal actions [actions] in an environment's `info`.

    Args:
        info: The environment's `info`; without a mask all actions are legal.
        actions: Number of actions.
        env_id: Id of the environment, for messages.
        masked: True if the environment gave a mask at its first reset.
        is_last: True at the end of an episode, where a mask may be absent or allow nothing.

    Raises:
        EnvironmentFailure: The mask is missing, has another size, or allows no action.
    """
    if KEY not in info:
        if masked and not is_last:
            raise _failure(env_id, "is missing in a step, and was there at reset")
        return np.ones(actions, bool)
    if not masked:
        raise _failure(env_id, LATE)
    mask = np.asarray(info[KEY])
    if mask.shape != (actions,):
        raise _failure(env_id, f"has shape {mask.shape}, but there are {actions} actions")
    mask = mask.astype(bool)
    if mask.any():
        return mask
    if not is_last:
        raise _failure(env_id, "allows no action; one at least must be legal")
    return np.ones(actions, bool)


def _failure(env_id: str, reason: str) -> EnvironmentFailure:
    return EnvironmentFailure(f"env={env_id}: {KEY} {reason}")
