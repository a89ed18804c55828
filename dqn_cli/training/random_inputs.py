"""Random inputs of updates, drawn outside so that an update is a pure function."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.batch import RandomInputs
from dqn_cli.agent.model import Model
from dqn_cli.training.randomness import Randomness


class RandomInputSource:
    """Draws the random inputs of updates and of acting, for all members."""

    def __init__(self, model: Model, like: Tensor, augment: int = 0, following: int = 0) -> None:
        """Prepare to draw.

        Args:
            model: The model that takes them.
            like: A tensor [members] of the right type and device.
            augment: Count of numbers that the augmentation of an observation takes.
            following: Observations after each transition that are augmented, too.
        """
        self._model, self._like = model, like
        self._of_augmentation = augment, 2 + following
        takes = model.noise_size, model.head.samples, augment, model.head.mixed
        self._no_inputs = None if any(takes) else no_random_inputs(like, rows=1)
        self._no_noise = like.new_zeros(like.shape[0], 0)

    def draw(self, rows: int, random: Randomness) -> RandomInputs:
        """Draw for an update whose online network evaluates `rows` observations a member."""
        if self._no_inputs is not None:
            return self._no_inputs
        return draw_random_inputs(self._model, rows, random, self._like, *self._of_augmentation)

    def acting_noise(self, random: Randomness) -> Tensor:
        """Draw the noise of one set of actions, [members, noise size]."""
        if not self._model.noise_size:
            return self._no_noise
        return torch.from_numpy(random.normal(self._model.noise_size)).to(self._like)


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
