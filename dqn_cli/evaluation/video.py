"""Video of one greedy episode."""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import EnvConfig, make_env
from dqn_cli.envs.episode_seeds import SeededEpisodes, SeedFunction
from dqn_cli.envs.masks import KEY, legal_actions
from dqn_cli.evaluation.play import BatchPolicy

NAME = "greedy-episode-0"  # of the film beside a checkpoint
USUAL_RATE = 30  # frames per second of an environment that does not say


def record_episode(
    policy: BatchPolicy,
    config: EnvConfig,
    seed_function: SeedFunction,
    max_episode_steps: int,
    folder: Path,
    name: str = NAME,
    should_stop: Callable[[], bool] = lambda: False,
    most_rate: float = math.inf,
) -> Path:
    """Write the first episode as NAME.mp4 and return its path; it ends early if it `should_stop`.

    At more frames per second than `most_rate`, only every so many are drawn and kept.

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
    rate = float(env.metadata.get("render_fps", USUAL_RATE))
    every = max(1, math.ceil(rate / most_rate))
    recorded = SeededEpisodes(env, seed_function)
    frames: list[Any] = []
    obs, info = recorded.reset()
    for step in range(max_episode_steps):
        if not step % every:
            frames.append(env.render())
        mask = legal_actions(info, spaces.actions, config.id, masked=KEY in info)
        action = policy(np.asarray(obs, np.float32)[None], mask[None], np.array([step == 0]))[0]
        obs, _, terminated, truncated, info = recorded.step(int(action))
        if terminated or truncated or should_stop():
            break
    frames.append(env.render())
    recorded.close()
    folder.mkdir(parents=True, exist_ok=True)
    return _write(frames, rate / every, folder / f"{name}.mp4")


def _write(frames: Sequence[Any], rate: float, path: Path) -> Path:
    from moviepy import ImageSequenceClip

    clip = ImageSequenceClip(list(frames), fps=rate)
    try:
        clip.write_videofile(str(path), logger=None)
    finally:
        clip.close()
    return path


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
