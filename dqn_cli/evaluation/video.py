"""A film of one greedy episode."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from gymnasium.wrappers import RecordVideo

from dqn_cli.envs.env_config import EnvConfig, EnvironmentFailure, make
from dqn_cli.envs.episode_seeds import SeededEpisodes, SeedOf
from dqn_cli.envs.sync_envs import legal
from dqn_cli.evaluation.play import Policy


def film(
    policy: Policy, config: EnvConfig, seed_of: SeedOf, max_episode_steps: int, folder: Path
) -> Path:
    """Writes the first episode as an mp4; EnvironmentFailure if it can't be filmed."""
    if find_spec("moviepy") is None:
        raise EnvironmentFailure("video=true needs an extra: pip install 'dqn-train[video]'")
    env, spaces = make(config, render_mode="rgb_array")
    if "rgb_array" not in env.metadata.get("render_modes", []):
        raise EnvironmentFailure(f"env={config.id} can't be filmed: it renders no pictures")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Overwriting existing videos")
        recorder = RecordVideo(env, str(folder), name_prefix="greedy")
    recorded = SeededEpisodes(recorder, seed_of)
    obs, info = recorded.reset()
    for step in range(max_episode_steps):
        mask = legal(info, spaces.actions, config.id)
        action = policy(np.asarray(obs, np.float32)[None], mask[None], np.array([step == 0]))[0]
        obs, _, terminated, truncated, info = recorded.step(int(action))
        if terminated or truncated:
            break
    recorded.close()
    return folder / "greedy-episode-0.mp4"
