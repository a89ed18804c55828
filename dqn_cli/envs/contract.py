"""The contract of an environment: what `reset` and `step` must return, checked at each call."""

from __future__ import annotations

import sys
import traceback
from functools import cache
from pathlib import Path
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces

from dqn_cli.envs.preprocessing import AnyEnv
from dqn_cli.interrupts import is_ours
from dqn_cli.text import one_line

OLD_API = "this is the old Gym API: return {right}, or wrap the environment with Shimmy"
ARRAYS = (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)
RESET = "(observation, info)"
SIGNATURE = "; it must be reset(self, *, seed=None, options=None)"
STEP = "(observation, reward, terminated, truncated, info)"


class EnvironmentFailure(Exception):
    """An environment can't be made, or returned values that can't be trained on."""


class Contract(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Checks everything that an environment returns, and reports what its own code raises."""

    def __init__(self, env: AnyEnv, env_id: str) -> None:
        super().__init__(env)
        for name in ("observation_space", "action_space"):
            if not isinstance(value := getattr(env, name, None), gymnasium.Space):
                raise ValueError(
                    f"{name} is {shorten(value)}; __init__ must set it to a space of Gymnasium"
                )
        self._env_id, self._steps = env_id, 0
        self._seed: int | None = None
        space = env.observation_space
        self._dtype = space.dtype if isinstance(space, spaces.Box) else None
        self._shape = space.shape

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Reset the environment and check what it returns."""
        self._seed, self._steps = seed, 0
        try:
            result = self.env.reset(seed=seed, options=options)
        except EnvironmentFailure:  # of a contract inside
            raise
        except BaseException as error:  # it may even raise SystemExit
            if is_ours(error):
                raise
            hint = SIGNATURE if " unexpected keyword argument " in str(error) else ""
            raise self._failure(f"reset raised {describe_error(error)}{hint}") from error
        if not (isinstance(result, tuple) and len(result) == 2 and not self._fits(result)):
            is_old = misfit(self.observation_space, result) is None
            hint = OLD_API.format(right=RESET) if is_old else f"it returned {shorten(result)}"
            raise self._failure(f"reset returned no {RESET}; {hint}")
        obs, info = result
        self._check(obs, info)
        return obs, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment and check what it returns."""
        self._steps += 1
        try:
            result = self.env.step(action)
        except EnvironmentFailure:
            raise
        except BaseException as error:  # it may even raise SystemExit
            if is_ours(error):
                raise
            raise self._failure(f"step raised {describe_error(error)}") from error
        try:
            obs, reward, terminated, truncated, info = result
        except (TypeError, ValueError):
            raise self._failure(_not_five_values(result)) from None
        # Nearly all answers pass these tests, which are cheap.
        is_array = type(obs) is np.ndarray and obs.dtype is self._dtype
        if not (is_array and obs.shape == self._shape and type(info) is dict):
            self._check(obs, info)
        are_bools = type(terminated) is bool and type(truncated) is bool
        if not are_bools:
            terminated = self._flag("terminated", terminated)
            truncated = self._flag("truncated", truncated)
        if are_bools and type(reward) is float:
            return result
        return obs, self._number(reward), terminated, truncated, info

    def _check(self, obs: Any, info: Any) -> None:
        if not isinstance(info, dict):
            raise self._failure(f"info is {shorten(info)}; it must be a dict, if only an empty one")
        if reason := misfit(self.observation_space, obs):
            raise self._failure(f"the observation {reason}")

    def _fits(self, value: Any) -> bool:
        """Return whether a tuple is an observation itself."""
        return isinstance(self.observation_space, spaces.Tuple) and not misfit(
            self.observation_space, value
        )

    def _number(self, reward: Any) -> float:
        value = _single(reward, "biufO")  # a Fraction is an object
        try:
            if value is not None:
                return float(value)
        except (TypeError, ValueError, OverflowError):
            pass
        raise self._failure(f"the reward is {shorten(reward)}; it must be one number")

    def _flag(self, name: str, value: Any) -> bool:
        flag = _single(value, "biuf")
        if flag is None:
            raise self._failure(f"{name} is {shorten(value)}; it must be True or False")
        return bool(flag)

    def _failure(self, what: str) -> EnvironmentFailure:
        place = describe_place(self._steps, self._seed)
        return EnvironmentFailure(f"env={self._env_id}: {what} ({place})")


def _single(value: Any, kinds: str) -> Any:
    """Return the only element of a value whose type is one of `kinds`; None if it isn't."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor with a gradient
        return None
    return array.item() if array.size == 1 and array.dtype.kind in kinds else None


def _not_five_values(result: Any) -> str:
    """Return what is wrong with the result of a step."""
    if not isinstance(result, (tuple, list)):
        return f"step returned {shorten(result)}, not {STEP}"
    hint = f"; {OLD_API.format(right=STEP)}" if len(result) == 4 else f", not {STEP}"
    return f"step returned {len(result)} values{hint}"


def with_contract(env: AnyEnv, env_id: str) -> AnyEnv:
    """Return the environment with a `Contract` around the user's own, inside all wrappers."""
    outer = env
    while isinstance(outer, gymnasium.Wrapper) and isinstance(outer.env, gymnasium.Wrapper):
        outer = outer.env
    if not isinstance(outer, gymnasium.Wrapper):
        return Contract(env, env_id)
    outer.env = Contract(outer.env, env_id)
    return env


def misfit(space: gymnasium.Space[Any], value: Any, part: str = "") -> str | None:
    """Return why a value can't be an observation of this space; None if it can.

    Bounds are not checked. Numbers of another type are accepted if none of them changes.
    """
    name = f"part {part} " if part else ""
    if isinstance(space, spaces.Dict):
        if not isinstance(value, dict) or set(value) != set(space.spaces):
            keys = sorted(value, key=str) if isinstance(value, dict) else shorten(value)
            return f"{name}is {keys}; declared are the parts {sorted(space.spaces, key=str)}"
        parts = [(key, space[key], value[key]) for key in space.spaces]
    elif isinstance(space, spaces.Tuple):
        if not isinstance(value, (tuple, list)) or len(value) != len(space.spaces):
            return f"{name}is {shorten(value)}; declared is a tuple of {len(space.spaces)} parts"
        parts = [(str(i), space[i], item) for i, item in enumerate(value)]
    else:
        return _misfit_of_array(space, value, name)
    reasons = (misfit(own, item, f"{part}.{key}".lstrip(".")) for key, own, item in parts)
    return next(filter(None, reasons), None)


def _misfit_of_array(space: gymnasium.Space[Any], value: Any, name: str) -> str | None:
    if not isinstance(space, ARRAYS):
        return None
    try:
        array = np.asarray(value)
        declared = np.dtype(space.dtype)
        if array.shape != space.shape:
            return f"{name}has shape {list(array.shape)}; declared is {list(space.shape or ())}"
        # Floats may lose precision; whole numbers would wrap around.
        casting: Any = "same_kind" if declared.kind == "f" else "safe"
        if array.dtype != declared and not np.can_cast(array.dtype, declared, casting):
            with np.errstate(invalid="ignore"):
                if array.dtype.kind not in "biuf" or (array.astype(declared) != array).any():
                    return f"{name}has {_described(array)}, which {declared} can't hold"
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: a tensor with a gradient
        return f"{name}is {shorten(value)}; declared is {space}"
    if not isinstance(space, spaces.Box) and not space.contains(array.astype(declared)[()]):
        return f"{name}is {shorten(value)}; declared is {space}"
    return None


def describe_place(step: int, seed: int | None) -> str:
    """Return the place of a call in words; step 0 is the reset."""
    return f"in {f'step {step:,}' if step else 'reset'} of the episode with seed {seed}"


@cache
def warn_once(text: str) -> None:
    """Print a warning, unless it was printed before."""
    print(f"warning: {text}", file=sys.stderr, flush=True)


def describe_error(error: BaseException) -> str:
    """Return type, message, file and line of an error in somebody else's code, in one line."""
    message = one_line(error)
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "gymnasium" not in Path(frame.filename).parts]
    last = (own or frames)[-1]
    return f"{type(error).__name__}: {message or 'no message'} ({last.filename}:{last.lineno})"


def shorten(value: Any) -> str:
    """Return a value in one short line."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # the user's code may raise anything
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."


def _described(array: np.ndarray[Any, Any]) -> str:
    if array.dtype.kind not in "biuf" or not array.size:
        return f"values of type {array.dtype}"
    return f"{array.dtype} values from {array.min():g} to {array.max():g}"
