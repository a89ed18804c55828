"""Preprocessing of an environment: frame skipping, resizing, stacking and the rules of Atari."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import (
    AtariPreprocessing,
    GrayscaleObservation,
    MaxAndSkipObservation,
    ResizeObservation,
    TransformObservation,
)

from dqn_cli.envs.observation_encoder import Channels, has_channels_first
from dqn_cli.ranges import Count, Natural, Probability

AnyEnv = gymnasium.Env[Any, Any]


@dataclass
class Protocol:
    """Base of all preprocessing.

    With `clip_rewards`, rewards are clipped to [-1, 1] for learning only. Reported returns are sums
    of the rewards that the environment gave.
    """

    stack: Count
    clip_rewards: bool

    @property
    def frames(self) -> int:
        """Length of an observation's first axis if that axis is time, else 0."""
        return int(self.stack) if self.stack > 1 else 0

    @property
    def make_kwargs(self) -> dict[str, Any]:
        """Arguments of gymnasium.make."""
        return {}

    @property
    def color_axis(self) -> Channels:
        """Axis of the colors of pictures, after preprocessing."""
        return Channels.last

    def wrap(self, env: AnyEnv) -> AnyEnv:
        """Wrap the environment in all preprocessing but the stack.

        Raises:
            ValueError: Its observations don't fit.
        """
        return env


@dataclass
class Preprocess(Protocol):
    """Observations as the environment returns them, stacked or not."""

    channels: Channels = Channels.auto

    @property
    def color_axis(self) -> Channels:
        """Axis of the colors of pictures."""
        return self.channels


@dataclass
class Resized(Protocol):
    """Base of protocols that resize images of bytes to [stack, size, size].

    Each action is repeated for `frame_skip` frames, and the observation is the maximum of the last
    two frames. Colors, where they are kept, are the last axis.
    """

    frame_skip: Count
    size: Count
    grayscale: bool

    @property
    def frames(self) -> int:
        """Number of stacked frames, which may be 1."""
        return int(self.stack)


@dataclass
class Images(Resized):
    """Images of any environment, [height, width, colors] or [colors, height, width]."""

    channels: Channels = Channels.auto

    def wrap(self, env: AnyEnv) -> AnyEnv:
        """Wrap the environment in Gymnasium's own wrappers."""
        space = env.observation_space
        shape = space.shape or ()
        if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(shape) != 3:
            raise ValueError(
                f"protocol=image needs images, Box(0, 255, [height, width, colors], uint8);"
                f" observations are {space}: use protocol=none"
            )
        if has_channels_first(shape, self.channels):
            shape = (*shape[1:], shape[0])
            low, high = (np.moveaxis(bound, 0, -1) for bound in (space.low, space.high))
            box = spaces.Box(low, high, dtype=np.uint8)
            env = TransformObservation(env, _with_channels_last, box)
        if self.frame_skip > 1:
            env = MaxAndSkipObservation(env, self.frame_skip)
        if self.grayscale and shape[2] == 3:
            env = GrayscaleObservation(env)
        if shape[:2] != (self.size, self.size):
            env = ResizeObservation(env, (self.size, self.size))
        return env


@dataclass
class Atari(Resized):
    """A game of the Arcade Learning Environment (Bellemare et al. 2013; Machado et al. 2018)."""

    noop_max: Natural
    fire_on_reset: bool
    loss_of_life: bool
    sticky: Probability
    full_actions: bool
    max_frames: Count

    @property
    def make_kwargs(self) -> dict[str, Any]:
        """Arguments that make the game emit every frame, as the wrappers skip frames."""
        return {
            "frameskip": 1,
            "repeat_action_probability": self.sticky,
            "full_action_space": self.full_actions,
            "max_num_frames_per_episode": self.max_frames,
        }

    def wrap(self, env: AnyEnv) -> AnyEnv:
        """Wrap the game so that its frames equal those of ale-py's vector environment."""
        if self.fire_on_reset:
            env = _FireOnReset(env)
        env = AtariPreprocessing(
            env,
            noop_max=self.noop_max,
            frame_skip=self.frame_skip,
            screen_size=self.size,
            grayscale_obs=self.grayscale,
        )
        return _LifeLossInfo(env) if self.loss_of_life else env


class _FireOnReset(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Fires in the first frame of an episode, for which some games wait."""

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(**options)
        meanings = self.env.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
        if "FIRE" in meanings:
            obs, _, _, _, info = self.env.step(meanings.index("FIRE"))
        return obs, info


class _LifeLossInfo(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Adds to `info` whether a step lost a life."""

    def reset(self, **options: Any) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(**options)
        self._lives = info["lives"]
        return obs, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        lost, self._lives = info["lives"] < self._lives, info["lives"]
        return obs, reward, terminated, truncated, info | {"life_lost": bool(lost)}


def _with_channels_last(image: Any) -> Any:
    return np.moveaxis(image, 0, -1)
