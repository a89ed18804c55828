"""Video of one greedy episode."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from gymnasium.wrappers import RecordVideo

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import EnvConfig, make_env
from dqn_cli.envs.episode_seeds import SeededEpisodes, SeedFunction
from dqn_cli.envs.masks import KEY, legal_actions
from dqn_cli.evaluation.play import BatchPolicy


def record_episode(
    policy: BatchPolicy,
    config: EnvConfig,
    seed_function: SeedFunction,
    max_episode_steps: int,
    folder: Path,
) -> Path:
    """Write the first episode as an mp4 and return its path.

    Raises:
        EnvironmentFailure: The environment renders no images, or an extra is missing.
    """
    if find_spec("moviepy") is None:
        raise EnvironmentFailure("video=true needs an extra: pip install 'dqn-train[video]'")
    if config.is_native_vector:
        raise EnvironmentFailure(f"env={config.id} makes vectors, which can't be recorded")
    env, spaces = make_env(config, render_mode="rgb_array")
    if "rgb_array" not in env.metadata.get("render_modes", []):
        raise EnvironmentFailure(f"env={config.id} can't be recorded: it renders no images")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*Overwriting existing videos")
        recorder = RecordVideo(env, str(folder), name_prefix="greedy")
    recorded = SeededEpisodes(recorder, seed_function)
    obs, info = recorded.reset()
    for step in range(max_episode_steps):
        mask = legal_actions(info, spaces.actions, config.id, masked=KEY in info)
        action = policy(np.asarray(obs, np.float32)[None], mask[None], np.array([step == 0]))[0]
        obs, _, terminated, truncated, info = recorded.step(int(action))
        if terminated or truncated:
            break
    recorded.close()
    return folder / "greedy-episode-0.mp4"
