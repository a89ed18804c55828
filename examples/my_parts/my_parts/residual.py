"""A network of one's own: any torch.nn.Module that maps observations to features."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn


class Residual(nn.Module):
    """Blocks of two layers that add to their input (He et al. 2016)."""

    def __init__(self, observation_shape: Sequence[int], width: int = 64, blocks: int = 2) -> None:
        super().__init__()
        self.first = nn.Linear(math.prod(observation_shape), width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(width), nn.ReLU(), nn.Linear(width, width))
            for _ in range(blocks)
        )

    def forward(self, obs: Tensor) -> Tensor:
        """Map observations [batch, *shape] to features [batch, width]."""
        x = self.first(obs.flatten(1))  # [batch, width]
        for block in self.blocks:
            x = x + block(x)
        return x.relu()
