"""Video of one greedy episode."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from gymnasium.wrappers import RecordVideo

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import EnvConfig, make_env
from dqn_cli.envs.episode_seeds import SeededEpisodes, SeedFunction
from dqn_cli.envs.masks import KEY, legal_actions
from dqn_cli.evaluation.play import BatchPolicy

NAME = "greedy-episode-0"  # of the film beside a checkpoint


def record_episode(
    policy: BatchPolicy,
    config: EnvConfig,
    seed_function: SeedFunction,
    max_episode_steps: int,
    folder: Path,
    name: str = NAME,
    should_stop: Callable[[], bool] = lambda: False,
) -> Path:
    """Write the first episode as NAME.mp4 and return its path; it ends early if it `should_stop`.

    Raises:
        EnvironmentFailure: The environment renders no images, or an extra is missing.
    """
    if find_spec("moviepy") is None:
        raise EnvironmentFailure("video=true needs an extra: pip install 'dqn-train[video]'")
    if config.is_native_vector:
        raise EnvironmentFailure(f"env={config.id} makes vectors, which can't be recorded")
    if not _renders_images(config):
        raise EnvironmentFailure(f"env={config.id} can't be recorded: it renders no images")
    _expect_no_display()
    env, spaces = make_env(config, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Overwriting existing videos")
        recorder = RecordVideo(env, str(folder), name_prefix=name)
    recorded = SeededEpisodes(recorder, seed_function)
    obs, info = recorded.reset()
    for step in range(max_episode_steps):
        mask = legal_actions(info, spaces.actions, config.id, masked=KEY in info)
        action = policy(np.asarray(obs, np.float32)[None], mask[None], np.array([step == 0]))[0]
        obs, _, terminated, truncated, info = recorded.step(int(action))
        if terminated or truncated or should_stop():
            break
    recorded.close()
    return (folder / f"{name}-episode-0.mp4").replace(folder / f"{name}.mp4")


def _renders_images(config: EnvConfig) -> bool:
    """Return what the environment says of itself; asked for images, others warn or fail."""
    env, _ = make_env(config)
    try:
        return "rgb_array" in env.metadata.get("render_modes", [])
    finally:
        env.close()


def _expect_no_display() -> None:
    """Let pygame draw without a display where there is none; otherwise SDL prints an error."""
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys():
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
