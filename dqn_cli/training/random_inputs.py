"""Random inputs of updates, drawn outside so that an update is a pure function."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.batch import RandomInputs
from dqn_cli.agent.model import Model
from dqn_cli.training.randomness import Randomness


def draw_random_inputs(
    model: Model,
    rows: int,
    random: Randomness,
    like: Tensor,
    augment: int = 0,
    augmented: int = 2,
) -> RandomInputs:
    """Draw the random numbers of one update.

    Args:
        model: The model that takes them.
        rows: Number of observations of each member that the online network evaluates.
        random: Random streams of the members.
        like: A tensor [members] of the right type and device.
        augment: Count of numbers that the augmentation of an observation takes.
        augmented: Observations of each row that are augmented: two, and those that follow.
    """
    size, samples = model.noise_size, model.head.samples
    taus, noise, numbers, mixture = no_random_inputs(like, rows)
    if size:
        noise = torch.from_numpy(random.normal(3, size)).to(like)
    if samples:
        # Stratified: one level from each of `samples` equal intervals of (0, 1).
        uniform = random.uniform(2, rows, samples)
        taus = torch.from_numpy((np.arange(samples) + uniform) / samples).to(like)
    if augment:
        numbers = torch.from_numpy(random.uniform(augmented, rows, augment)).to(like)
    if model.head.mixed:
        weights = random.uniform(model.head.mixed)  # [members, heads]
        mixture = torch.from_numpy(weights / weights.sum(1, keepdims=True)).to(like)
    return RandomInputs(taus, noise, numbers, mixture)


def no_random_inputs(like: Tensor, rows: int) -> RandomInputs:
    """Return the inputs of a model that needs none."""
    members = like.shape[0]
    empty = like.new_zeros(members, 2, rows, 0)
    return RandomInputs(empty, like.new_zeros(members, 3, 0), empty, like.new_zeros(members, 0))
