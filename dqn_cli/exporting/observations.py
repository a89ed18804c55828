"""Real observations, on which an exported policy is compared with its checkpoint."""

from __future__ import annotations

from contextlib import closing
from typing import NamedTuple

import numpy as np
import torch

from dqn_cli.agent.exploration import best_action, legal_values, random_action
from dqn_cli.arrays import Array
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.episode_seeds import episode_seeds
from dqn_cli.evaluation.greedy_policy import GreedyPolicy
from dqn_cli.exporting.exported_policy import with_full_precision
from dqn_cli.training.randomness import Purpose
from dqn_cli.training.settings import Settings

EPSILON = 0.1


class Observations(NamedTuple):
    """What a policy has seen, and what it makes of it; every array is [rows, ...]."""

    obs: Array
    mask: Array
    state: Array  # recurrent state before the observation
    action: Array  # the greedy one, from 0 to n - 1
    q: Array
    next_state: Array


@torch.no_grad()
def play(settings: Settings, policy: GreedyPolicy, count: int) -> tuple[Observations, bool]:
    """Play epsilon-greedily in the environment of evaluations until so many observations are seen.

    Returns:
        What was seen, and whether the environment tells which actions are legal.

    Raises:
        EnvironmentFailure: The environment can't be made or played.
    """
    model, parameters = with_full_precision(policy.model), policy.parameters.cpu()
    seeds = [[episode_seeds(0, Purpose.final_evaluation.value, 0)]]
    random = np.random.default_rng(0)
    rows = []
    state = no_noise = parameters.new_zeros(0)
    config = settings.evaluation_env.in_one_process
    with closing(Environments(config, seeds, settings.dtype.name)) as envs:
        has_mask, is_start = bool(envs.masked), True
        for _ in range(count):
            obs, mask = envs.obs[0].copy(), envs.mask[0].copy()
            if is_start:
                state = parameters.new_zeros(1, model.state_size)
            inputs = torch.from_numpy(obs).to(parameters)
            values, next_state = model.act(parameters, inputs, state, no_noise)
            q = values.numpy()
            action = best_action(legal_values(q, mask))
            rows.append((obs, mask, state.numpy(), action, q, next_state.numpy()))
            explores = random.random() < EPSILON
            taken = random_action(mask, random.random(1)) if explores else action
            is_start, state = bool(envs.step(taken[None]).ended[0, 0]), next_state
    return Observations(*map(np.concatenate, zip(*rows, strict=True))), has_mask
