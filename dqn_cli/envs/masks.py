"""Masks of legal actions, wherever an environment gives them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn_cli.arrays import Array
from dqn_cli.envs.contract import EnvironmentFailure, describe_error, shorten
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

    def __init__(
        self, env: AnyEnv, env_id: str, source: MaskSource, is_chosen: bool = True
    ) -> None:
        """Take the mask from `source`, which is not `info` or `auto`.

        Unless the user has chosen it, a mask in `info` must be the same.
        """
        super().__init__(env)
        self._env_id, self._source, self._is_chosen = env_id, source, is_chosen
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
        obs, info = self._moved(obs, info, is_last=bool(terminated or truncated))
        return obs, reward, terminated, truncated, info

    def _moved(
        self, obs: Any, info: dict[str, Any], is_last: bool = False
    ) -> tuple[Any, dict[str, Any]]:
        if self._source is MaskSource.none:
            return obs, {key: value for key, value in info.items() if key != KEY}
        if self._source is MaskSource.method:
            mask = self._call_method()
        else:
            mask = obs[KEY]
            obs = {key: part for key, part in obs.items() if key != KEY}
        if KEY in info and not (self._is_chosen or is_last) and not _are_equal(info[KEY], mask):
            name = self._source.name
            raise _failure(
                self._env_id, f"differs in info and {name}: choose env.mask=info or env.mask={name}"
            )
        return obs, info | {KEY: mask}

    def _call_method(self) -> Any:
        try:
            return self.env.get_wrapper_attr(METHOD)()
        except Exception as error:  # the user's code may raise anything
            reason = f"{METHOD}() raised {describe_error(error)}"
            raise EnvironmentFailure(f"env={self._env_id}: {reason}") from error


def find_mask_source(env: AnyEnv, source: MaskSource) -> MaskSource:
    """Return the place where an environment's mask is read.

    `auto` takes a part `action_mask` of a Dict observation, else the method `action_masks`, else
    `info`.

    Raises:
        ValueError: The environment has no mask at the named place, or with `auto`, one that is not
            read.
    """
    space = env.observation_space
    is_part = isinstance(space, spaces.Dict) and KEY in space.spaces
    has_method = env.has_wrapper_attr(METHOD) and callable(env.get_wrapper_attr(METHOD))
    if source is MaskSource.auto:
        refuse_nested_mask(space)
        _refuse_property(env)
        found = MaskSource.method if has_method else MaskSource.info
        return MaskSource.observation if is_part else found
    if source is MaskSource.observation and not is_part:
        raise ValueError(f"env.mask=observation needs a Dict with a part {KEY}; it is {space}")
    if source is MaskSource.method and not has_method:
        raise ValueError(f"env.mask=method needs a method {METHOD}() of the environment")
    return source


def refuse_nested_mask(space: gymnasium.Space[Any]) -> None:
    """Raise ValueError for a mask inside a part of observations."""
    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts = space.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        for name, part in parts:
            if _has_mask_inside(part):
                raise ValueError(
                    f"part {name} of observations has {KEY} inside, which is not read: put it"
                    " beside the other parts, or use env.mask=none"
                )


def _refuse_property(env: AnyEnv) -> None:
    """Raise ValueError for a mask in a property, which may not work before the first reset."""
    layer = env
    while True:
        if isinstance(inspect.getattr_static(layer, METHOD, None), property):
            raise ValueError(f"{METHOD} is a property: make it a method, or use env.mask=none")
        if not isinstance(layer, gymnasium.Wrapper):
            return
        layer = layer.env


def _has_mask_inside(space: gymnasium.Space[Any]) -> bool:
    if isinstance(space, spaces.Dict):
        return KEY in space.spaces or any(map(_has_mask_inside, space.values()))
    return isinstance(space, spaces.Tuple) and any(map(_has_mask_inside, space.spaces))


def _are_equal(mask: Any, other: Any) -> bool:
    return np.array_equal(np.asarray(mask).astype(bool), np.asarray(other).astype(bool))


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
        if KEY not in info:
            return info
        try:
            return info | {KEY: self._joint_mask(info[KEY])}
        except ValueError as error:
            raise EnvironmentFailure(f"{KEY} {error}") from error


def with_mask_in_info(env: AnyEnv, env_id: str, source: MaskSource) -> AnyEnv:
    """Return the environment with its mask of legal actions in `info`.

    Raises:
        ValueError: As find_mask_source.
    """
    found = find_mask_source(env, source)
    if found is MaskSource.info:
        return env
    return MaskInInfo(env, env_id, found, is_chosen=found is source)


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
        EnvironmentFailure: The mask is missing, has another size or other values than 0 and 1, or
            allows no action.
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
    if not is_binary(mask):
        raise _failure(env_id, f"is {shorten(info[KEY])}; it must hold 0 and 1 only")
    mask = mask.astype(bool)
    if mask.any():
        return mask
    if not is_last:
        raise _failure(env_id, "allows no action; one at least must be legal")
    return np.ones(actions, bool)


def is_binary(mask: Array) -> bool:
    """Return whether a mask has no other values than 0 and 1, as logits or indices would have."""
    return mask.dtype == bool or bool(((mask == 0) | (mask == 1)).all())


def _failure(env_id: str, reason: str) -> EnvironmentFailure:
    return EnvironmentFailure(f"env={env_id}: {KEY} {reason}")
