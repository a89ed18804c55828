"""Playing whole episodes with a policy that does not learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from dqn_cli.arrays import Array
from dqn_cli.envs.env_config import EnvConfig
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.episode_seeds import SeedOf

# Actions of observations, masks and where episodes begin, each with a leading axis of rows.
Policy = Callable[[Array, Array, Array], Array]

SIDE_BY_SIDE = 20


class Episodes(NamedTuple):
    """Undiscounted return and length of each episode, in the order of their seeds."""

    returns: Array  # [episodes]
    lengths: Array  # [episodes]


def play(
    policy: Policy,
    config: EnvConfig,
    seed_of: SeedOf,
    episodes: int,
    max_episode_steps: int,
    dtype: str,
    stopped: Callable[[], bool] = lambda: False,
) -> Episodes | None:
    """Plays `episodes` episodes with seeds of their own; None if `stopped` before the last ended.

    Environments side by side share the work, each with a fixed share of the episodes: taking
    whichever ends first would prefer short ones.
    """
    width = min(episodes, SIDE_BY_SIDE)
    # Environment i plays episodes i, i + width, i + 2 * width, ...
    seed_ofs = [[_every(seed_of, first, width) for first in range(width)]]
    envs = Environments(config, seed_ofs, dtype, max_episode_steps=max_episode_steps)
    returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
    current = np.arange(width)  # the episode that each environment is playing
    fresh = np.ones(width, bool)
    try:
        while (current < episodes).any():
            if stopped():
                return None
            step = envs.step(policy(envs.obs[0], envs.mask[0], fresh)[None])
            fresh = step.ended[0]
            playing = current < episodes
            returns[current[playing]] += step.reward[0, playing]
            lengths[current[playing]] += 1
            current[fresh] += width
    finally:
        envs.close()
    return Episodes(returns, lengths)


def _every(seed_of: SeedOf, first: int, width: int) -> SeedOf:
    return lambda number: seed_of(first + number * width)
