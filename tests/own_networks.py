"""Modules as people have them: `network=module network.path=own_networks:Small`."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor, nn


class Small(nn.Module):
    """Two layers with initial values of its own, a buffer, and a layer that does not learn."""

    scale: Tensor

    def __init__(self, observation_shape: Any, width: int = 8) -> None:
        super().__init__()
        shapes = observation_shape
        sizes = map(prod, shapes.values()) if isinstance(shapes, dict) else [prod(shapes)]
        self.first = nn.Linear(sum(sizes), width)
        self.second = nn.Linear(width, width)
        nn.init.orthogonal_(self.second.weight)
        self.frozen = nn.Linear(width, width, bias=False).requires_grad_(False)
        self.register_buffer("scale", torch.rand(width))
        self.register_buffer("order", torch.randperm(width))

    def forward(self, obs: Tensor | dict[str, Tensor]) -> Tensor:
        if isinstance(obs, dict):
            obs = torch.cat([part.flatten(1) for part in obs.values()], 1)
        x: Tensor = self.first(obs.flatten(1)).relu()
        x = self.second(x).relu() * self.scale
        return x + self.frozen(x)[:, self.get_buffer("order")]
