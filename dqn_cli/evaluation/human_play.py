"""Playing by hand at the keyboard, in a window."""

from __future__ import annotations

import os
import string
from contextlib import suppress
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
import pygame
from gymnasium.utils.play import play

from dqn_cli.agent.spaces import Spaces
from dqn_cli.arrays import Array
from dqn_cli.data.record import Recording, Row
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import EnvConfig, make_env, observation_dtype
from dqn_cli.envs.episode_seeds import SeededEpisodes, SeedFunction
from dqn_cli.envs.masks import KEY, legal_actions
from dqn_cli.envs.preprocessing import AnyEnv
from dqn_cli.interrupts import UserInterrupt

OWN_KEYS = "get_keys_to_action"
KEYS = string.digits + string.ascii_lowercase
DRIVER = "SDL_VIDEODRIVER"  # an environment variable: how SDL shows windows
INVISIBLE = ("offscreen", "dummy")  # drivers that SDL takes where there is no display
Keys = dict[Any, int]


def play_by_hand(config: EnvConfig, seed_function: SeedFunction, dtype: str) -> Recording:
    """Open a window and let the user play until it is closed; return what was played.

    Ctrl-C ends it as Escape does, so that what was played is not lost.

    Raises:
        EnvironmentFailure: The environment renders no images, or has more actions than keys, or
            there is no display.
    """
    if config.is_native_vector:
        raise EnvironmentFailure(f"env={config.id} makes vectors, which can't be played by hand")
    env, spaces = make_env(config, render_mode="rgb_array")
    if "rgb_array" not in env.metadata.get("render_modes", []):
        env.close()
        raise EnvironmentFailure(f"env={config.id} can't be played by hand: it renders no images")
    recorded = Recorded(SeededEpisodes(env, seed_function), spaces, config.id, dtype)
    own = own_keys(env)
    keys = own or digit_keys(config.id, spaces.actions)
    try:
        check_display()
    except EnvironmentFailure:
        env.close()
        raise
    print("keys: " + ", ".join(f"{_name(key)} = {action}" for key, action in keys.items()))
    print("Escape, closing the window or Ctrl-C ends it", flush=True)
    try:
        # Without keys of its own, an environment may have no action that does nothing.
        with suppress(UserInterrupt):
            play(recorded, keys_to_action=keys, wait_on_player=not own)
    finally:
        env.close()
    recorded.recording.end()
    return recorded.recording


def check_display() -> None:
    """Check that a window can be seen, unless the user has chosen how SDL shows it.

    Raises:
        EnvironmentFailure: There is no display.
    """
    try:
        pygame.display.init()
        has_display = DRIVER in os.environ or pygame.display.get_driver() not in INVISIBLE
    except pygame.error:
        has_display = False
    if not has_display:
        raise EnvironmentFailure(
            "play=true opens a window, and there is no display here: type it on a desktop, or let a"
            " policy play with record=FILE alone"
        )


def own_keys(env: AnyEnv) -> Keys:
    """Return the environment's own keys of actions 0 to n - 1, or an empty dict."""
    if not env.has_wrapper_attr(OWN_KEYS):
        return {}
    keys = env.get_wrapper_attr(OWN_KEYS)()
    # With another action space than the environment's own, its actions have other numbers.
    fits = isinstance(env.unwrapped.action_space, gymnasium.spaces.Discrete)
    return dict(keys) if fits and env.unwrapped.action_space == env.action_space else {}


def digit_keys(env_id: str, actions: int) -> Keys:
    """Return a key for each action: the digits, then the letters.

    Raises:
        EnvironmentFailure: There are more actions than keys.
    """
    if actions > len(KEYS):
        raise EnvironmentFailure(
            f"env={env_id} has {actions} actions, and there are {len(KEYS)} keys to play it by hand"
        )
    return {key: action for action, key in enumerate(KEYS[:actions])}


class Recorded(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Records each step; an illegal action changes nothing."""

    def __init__(self, env: AnyEnv, spaces: Spaces, env_id: str, dtype: str) -> None:
        super().__init__(env)
        self._spaces, self._env_id = spaces, env_id
        self._dtype = observation_dtype(spaces, dtype)
        self._episode = -1
        self.recording = Recording(spaces, masked=False)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Begin the next episode."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._episode += 1
        self.recording.masked = KEY in info
        self._note(obs, info)
        return obs, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step the environment and record what happened."""
        before, obs, mask, info = self._latest
        if not mask[action]:
            return before, 0.0, False, False, info
        after, reward, terminated, truncated, info = self.env.step(action)
        ends = bool(terminated or truncated)
        next_obs, next_mask = self._note(after, info, ends)
        lost = bool(info.get("life_lost", False)) and not ends
        row = Row(
            obs, int(action), float(reward), bool(terminated), bool(truncated), lost,
            next_obs, mask, next_mask,
        )  # fmt: skip
        self.recording.add(self._episode, row)
        return after, reward, terminated, truncated, info

    def _note(self, obs: Any, info: dict[str, Any], ends: bool = False) -> tuple[Array, Array]:
        """Keep the latest observation; return it as a run stores it, and its legal actions."""
        stored = np.array(obs, self._dtype)
        actions, masked = self._spaces.actions, self.recording.masked
        mask = legal_actions(info, actions, self._env_id, masked, ends)
        self._latest = (obs, stored, mask, info)
        return stored, mask


def _name(key: Any) -> str:
    """Return the name of a key, or of keys that are held together."""
    if isinstance(key, tuple):
        return "+".join(map(_name, key)) or "nothing"
    return pygame.key.name(key) if isinstance(key, int) else str(key)
