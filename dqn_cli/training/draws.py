"""Random numbers of one update, drawn outside it so that the update itself is a pure function."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.batch import Batch, Draws, Sequences
from dqn_cli.agent.model import Model
from dqn_cli.agent.recurrent import Recurrent
from dqn_cli.training.randomness import Randomness


def draws_for(model: Model, batch: Batch | Sequences, random: Randomness, like: Tensor) -> Draws:
    """What `model` needs for a batch [members, ...], as tensors like `like`."""
    none = like.new_zeros(like.shape[0], 0)
    noise = [none] * 3
    if model.noise_size:
        normal = torch.from_numpy(random.normal(3, model.noise_size)).to(like)
        noise = list(normal.unbind(1))  # 3 of [members, size]
    taus = [none.unsqueeze(1).expand(-1, _rows(model, batch), -1)] * 2
    if samples := model.head.samples:
        # One level from each of as many equal parts of (0, 1).
        uniform = random.uniform(2, _rows(model, batch), samples)
        levels = torch.from_numpy((np.arange(samples) + uniform) / samples).to(like)
        taus = list(levels.unbind(1))  # 2 of [members, rows, samples]
    return Draws(*taus, *noise)


def acting_noise(model: Model, random: Randomness, like: Tensor) -> Tensor:
    """Fresh noise for one step of acting, [members, size]; size is 0 without noisy layers."""
    if not model.noise_size:
        return like.new_zeros(like.shape[0], 0)
    return torch.from_numpy(random.normal(model.noise_size)).to(like)


def _rows(model: Model, batch: Batch | Sequences) -> int:
    """How many observations the loss computes z of."""
    rows = batch.action.shape[1]
    if isinstance(batch, Sequences):
        assert isinstance(model.network, Recurrent)
        rows *= batch.obs.shape[2] - model.network.burn_in
    return rows
