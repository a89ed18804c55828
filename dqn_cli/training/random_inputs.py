"""Random numbers of one update, drawn outside it so that the update itself is a pure function."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.batch import Batch, Draws, Sequences
from dqn_cli.agent.model import Model
from dqn_cli.agent.recurrent import Recurrent
from dqn_cli.training.randomness import Randomness


class Numbers(NamedTuple):
    """Random numbers of one update; an axis has length 0 where a network or head needs none."""

    levels: Tensor  # [members, 2, rows, samples], quantile levels for both networks
    noise: Tensor  # [members, 3, size], standard normal, for the noisy layers


def numbers_for(model: Model, rows: int, random: Randomness, like: Tensor) -> Numbers:
    """What `model` needs for z of `rows` observations of each member, as tensors like `like`."""
    size, samples = model.noise_size, model.head.samples
    levels, noise = no_numbers(like, rows)
    if size:
        noise = torch.from_numpy(random.normal(3, size)).to(like)
    if samples:
        # One level from each of as many equal parts of (0, 1).
        uniform = random.uniform(2, rows, samples)
        levels = torch.from_numpy((np.arange(samples) + uniform) / samples).to(like)
    return Numbers(levels, noise)


def no_numbers(like: Tensor, rows: int) -> Numbers:
    """Those of a model that needs none."""
    members = like.shape[0]
    return Numbers(like.new_zeros(members, 2, rows, 0), like.new_zeros(members, 3, 0))


def draws_of(numbers: Numbers) -> Draws:
    """The numbers as the loss takes them."""
    return Draws(*numbers.levels.unbind(1), *numbers.noise.unbind(1))


def rows_of(model: Model, batch: Batch | Sequences) -> int:
    """How many observations of each member the loss computes z of."""
    rows = batch.action.shape[1]
    if isinstance(batch, Sequences):
        assert isinstance(model.network, Recurrent)
        rows *= batch.obs.shape[2] - model.network.burn_in
    return rows
