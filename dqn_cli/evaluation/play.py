"""Playing whole episodes with a policy that does not learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.envs.env_config import EnvConfig
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.episode_seeds import SeedFunction

# From obs [batch, *shape], mask [batch, actions] and episode_start [batch] to actions [batch].
BatchPolicy = Callable[[Array, Array, Array], Array]

MAX_PARALLEL_ENVS = 20


class Episodes(NamedTuple):
    """Undiscounted returns and lengths of episodes, in the order of their seeds."""

    returns: Array  # [episodes]
    lengths: Array  # [episodes]


def play_episodes(
    policy: BatchPolicy,
    config: EnvConfig,
    seed_function: SeedFunction,
    episodes: int,
    max_episode_steps: int,
    dtype: str,
    stopped: Callable[[], bool] = lambda: False,
) -> Episodes | None:
    """Play episodes with consecutive seeds; None if `stopped` before the last one ended.

    Each environment plays a fixed share of the episodes. To count the episodes that end first would
    prefer short ones.
    """
    width = min(episodes, MAX_PARALLEL_ENVS)
    # Environment i plays episodes i, i + width, i + 2 * width, ...
    seed_functions = [[_every_nth(seed_function, first, width) for first in range(width)]]
    envs = Environments(config, seed_functions, dtype, max_episode_steps=max_episode_steps)
    returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
    current = np.arange(width)  # the episode that each environment is playing
    episode_start = np.ones(width, bool)
    try:
        while (current < episodes).any():
            if stopped():
                return None
            step = envs.step(policy(envs.obs[0], envs.mask[0], episode_start)[None])
            episode_start = step.ended[0]
            playing = current < episodes
            returns[current[playing]] += step.reward[0, playing]
            lengths[current[playing]] += 1
            current[episode_start] += width
    finally:
        envs.close()
    return Episodes(returns, lengths)


def _every_nth(seed_function: SeedFunction, first: int, n: int) -> SeedFunction:
    return lambda number: seed_function(first + number * n)
