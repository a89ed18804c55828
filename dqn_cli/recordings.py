"""Recordings of trained policies, and of a human at the keyboard, as data to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dqn_cli.agent.exploration import random_action
from dqn_cli.arrays import Array
from dqn_cli.data.columns import DataError
from dqn_cli.data.record import Recording, check_new_file
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.evaluation.human_play import play_by_hand
from dqn_cli.evaluation.play import BatchPolicy, play_episodes
from dqn_cli.policies import check_policy_fits_env, load_greedy_policy, with_env_kwargs
from dqn_cli.training.devices import thread_count
from dqn_cli.training.randomness import Purpose, Randomness


@dataclass
class EpsilonPolicy:
    """Takes a random legal action with probability epsilon, else that of a policy."""

    policy: BatchPolicy
    epsilon: float
    random: Randomness

    def __call__(self, obs: Array, mask: Array, episode_start: Array) -> Array:
        """Return the actions [batch]."""
        preferred = self.policy(obs, mask, episode_start)
        uniform = self.random.uniform(len(obs), 2)[0]  # [batch, 2]
        explores = uniform[:, 0] < self.epsilon
        return np.where(explores, random_action(mask, uniform[:, 1]), preferred)


def record(
    path: Path,
    file: Path | None,
    modules: Sequence[str],
    episodes: int,
    seed: int,
    epsilon: float | None = None,
    env_kwargs: Mapping[str, Any] | None = None,
) -> Recording:
    """Record episodes of a checkpoint's environment, and write them.

    Their seeds are those of no evaluation.

    Args:
        path: The checkpoint.
        file: A new file; None writes none.
        modules: The user's own modules.
        episodes: Number of episodes that the policy plays.
        seed: Seed of the episodes and of random actions.
        epsilon: Probability of a random action; None lets the user play instead of the policy.
        env_kwargs: Arguments of gymnasium.make, over those of the run's evaluations.

    Raises:
        DataError: The file can't be new, or nothing was played.
    """
    if file is not None:
        check_new_file(file)
        file = file.absolute()  # an environment may change the working folder
    settings, policy = load_greedy_policy(path, modules)
    settings = with_env_kwargs(settings, env_kwargs or {})
    check_policy_fits_env(settings, policy, path)
    torch.set_num_threads(thread_count(settings, 1))
    seeds, env = episode_seeds(seed, Purpose.recording.value, 0), settings.evaluation_env
    if epsilon is None:
        recording = play_by_hand(env, seeds, settings.dtype.name)
    else:
        recording = Recording(policy.model.spaces, masked=False)
        chooser = EpsilonPolicy(policy, epsilon, Randomness([seed], Purpose.recording))
        most, dtype = settings.eval.max_episode_steps, settings.dtype.name
        play_episodes(chooser, env, seeds, episodes, most, dtype, recording=recording)
    if file is not None:
        if not recording.rows:
            raise DataError(f"nothing was played, so {file.name} is not written")
        recording.write(file)
    return recording
