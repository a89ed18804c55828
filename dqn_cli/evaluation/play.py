"""Playing whole episodes with a policy that does not learn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from dqn_cli.agent.spaces import Spaces
from dqn_cli.arrays import Array
from dqn_cli.data.record import Recording
from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.env_config import EnvConfig, Vectorization
from dqn_cli.envs.environments import Environments, read_spaces
from dqn_cli.envs.episode_seeds import SeedFunction
from dqn_cli.evaluation.info_means import InfoMeans

# From obs [batch, *shape], mask [batch, actions] and episode_start [batch] to actions [batch].
BatchPolicy = Callable[[Array, Array, Array], Array]

MAX_PARALLEL_ENVS = 20


class Episodes(NamedTuple):
    """Undiscounted returns and lengths of episodes, in the order of their seeds."""

    returns: Array  # [episodes]
    lengths: Array  # [episodes]
    info: Mapping[str, Mapping[str, float | None]] = {}  # an InfoSummary


def play_episodes(
    policy: BatchPolicy,
    config: EnvConfig,
    seed_function: SeedFunction,
    episodes: int,
    max_episode_steps: int,
    dtype: str,
    stopped: Callable[[], bool] = lambda: False,
    info_names: Sequence[str] = (),
    recording: Recording | None = None,
) -> Episodes | None:
    """Play episodes with consecutive seeds; None if `stopped` before the last one ended.

    Each environment plays a fixed share of the episodes. To count the episodes that end first would
    prefer short ones. A `recording` gets every step of them.
    """

    def make_envs(width: int) -> Environments:
        # Environment i plays episodes i, i + width, i + 2 * width, ...
        seeds = [[_every_nth(seed_function, first, width) for first in range(width)]]
        return Environments(
            config, seeds, dtype, max_episode_steps=max_episode_steps, info_names=info_names
        )

    # Environments with processes of their own may share a global state in a single one.
    is_alone = config.vectorization is Vectorization["async"]
    config = config.in_one_process
    width = min(episodes, 1 if is_alone else MAX_PARALLEL_ENVS)
    if config.is_native_vector:  # a copy plays one episode: it may not begin another after a cut
        width = episodes
    try:
        envs = make_envs(width)
    except EnvironmentFailure:  # of some environments only one can exist at a time
        if config.is_native_vector:
            raise
        width = 1
        envs = make_envs(width)
    means = InfoMeans(info_names)
    returns, lengths = np.zeros(episodes), np.zeros(episodes, np.int64)
    current = np.arange(width)  # the episode that each environment is playing
    episode_start = np.ones(width, bool)
    try:
        while (current < episodes).any():
            if stopped():
                return None
            obs, mask = envs.obs[0], envs.mask[0]
            actions = policy(obs, mask, episode_start)
            step = envs.step(actions[None])
            episode_start = step.ended[0]
            playing = current < episodes
            if recording is not None:
                recording.masked = envs.masked
                recording.add_step(np.where(playing, current, -1), obs, mask, actions, step)
            returns[current[playing]] += step.reward[0, playing]
            lengths[current[playing]] += 1
            if step.info:
                info = {name: values[0, playing] for name, values in step.info.items()}
                means.record(info, episode_start[playing])
            current[episode_start] += width
    finally:
        envs.close()
    return Episodes(returns, lengths, means.summary())


def check_evaluation_env(config: EnvConfig, spaces: Spaces) -> None:
    """Make the environment of evaluations once, to find out before training whether it fits.

    Raises:
        EnvironmentFailure: It can't be made, or has other spaces.
    """
    own_spaces = read_spaces(config)
    if not spaces.fits(own_spaces):
        raise EnvironmentFailure(
            f"env={config.id} has {spaces} in training, and with eval.env.kwargs {own_spaces}"
        )


def _every_nth(seed_function: SeedFunction, first: int, n: int) -> SeedFunction:
    return lambda number: seed_function(first + number * n)
