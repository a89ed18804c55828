"""What an agent sees of an environment: frames skipped, shrunk, stacked, and which rules count."""

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
)

from dqn_cli.ranges import Count, Natural, Probability

AnyEnv = gymnasium.Env[Any, Any]


@dataclass
class Preprocess:
    """Observations as the environment gives them, alone or with those before.

    Rewards are clipped to [-1, 1] for learning only: what is reported is what the environment paid.
    """

    stack: Count
    clip_rewards: bool

    @property
    def frames(self) -> int:
        """Length of an observation's first axis if that is one of time; 0 if there is none."""
        return int(self.stack) if self.stack > 1 else 0

    @property
    def arguments(self) -> dict[str, Any]:
        """What gymnasium.make gets."""
        return {}

    def applied(self, env: AnyEnv) -> AnyEnv:
        """The environment as it is seen, but for the stack; ValueError if it can't be seen so."""
        return env


@dataclass
class Images(Preprocess):
    """Pictures [height, width, colours] of bytes, shrunk to [stack, size, size].

    Each action is repeated for `frame_skip` frames; of the last two the brighter pixels are seen.
    """

    frame_skip: Count
    size: Count
    grayscale: bool

    @property
    def frames(self) -> int:
        """The stack."""
        return int(self.stack)

    def applied(self, env: AnyEnv) -> AnyEnv:
        """With Gymnasium's own wrappers."""
        space = env.observation_space
        shape = space.shape or ()
        if not isinstance(space, spaces.Box) or space.dtype != np.uint8 or len(shape) != 3:
            raise ValueError(
                f"protocol=image needs pictures, Box(0, 255, [height, width, colours], uint8);"
                f" observations are {space}: use protocol=none"
            )
        if self.frame_skip > 1:
            env = MaxAndSkipObservation(env, self.frame_skip)
        if self.grayscale and shape[2] == 3:
            env = GrayscaleObservation(env)
        if shape[:2] != (self.size, self.size):
            env = ResizeObservation(env, (self.size, self.size))
        return env


@dataclass
class Atari(Images):
    """A game of the Arcade Learning Environment (Bellemare et al. 2013; Machado et al. 2018)."""

    noop_max: Natural
    fire_on_reset: bool
    loss_of_life: bool
    sticky: Probability
    full_actions: bool
    max_frames: Count

    @property
    def arguments(self) -> dict[str, Any]:
        """Frames one by one: skipping them is part of the preprocessing."""
        return {
            "frameskip": 1,
            "repeat_action_probability": self.sticky,
            "full_action_space": self.full_actions,
            "max_num_frames_per_episode": self.max_frames,
        }

    def applied(self, env: AnyEnv) -> AnyEnv:
        """With Gymnasium's own wrappers, pixel for pixel as ale-py's vector of games does it."""
        if self.fire_on_reset:
            env = _FiresFirst(env)
        env = AtariPreprocessing(
            env,
            noop_max=self.noop_max,
            frame_skip=self.frame_skip,
            screen_size=self.size,
            grayscale_obs=self.grayscale,
        )
        return _LivesCounted(env) if self.loss_of_life else env


class _FiresFirst(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Fires in the first frame of an episode: some games wait for it."""

    def reset(self, **given: Any) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(**given)
        meanings = self.env.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
        if "FIRE" in meanings:
            obs, _, _, _, info = self.env.step(meanings.index("FIRE"))
        return obs, info


class _LivesCounted(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Says in `info` whether a step cost a life."""

    def reset(self, **given: Any) -> tuple[Any, dict[str, Any]]:
        obs, info = self.env.reset(**given)
        self._lives = info["lives"]
        return obs, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        obs, reward, terminated, truncated, info = self.env.step(action)
        lost, self._lives = info["lives"] < self._lives, info["lives"]
        return obs, reward, terminated, truncated, info | {"life_lost": bool(lost)}
