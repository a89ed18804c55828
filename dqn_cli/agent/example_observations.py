"""Made-up observations, on which a network is tried before an environment has made a step."""

from __future__ import annotations

import torch
from torch import Tensor

from dqn_cli.agent.spaces import BINARY, ONE_HOT, Part, Spaces

LIMIT = 10.0  # of elements whose bounds are far away or unknown


def example_observations(spaces: Spaces, rows: int) -> Tensor:
    """Return observations [rows, *shape] as the parts of these spaces declare them."""
    generator, frames = torch.Generator().manual_seed(0), max(spaces.frames, 1)
    pieces = [_elements(part, rows * frames, generator) for part in spaces.parts]
    return torch.cat(pieces, 1).view(rows, *spaces.observation_shape)


def _elements(part: Part, rows: int, generator: torch.Generator) -> Tensor:
    """Return elements [rows, size] of one part."""
    drawn = torch.rand(rows, part.size, generator=generator)
    if part.kind == ONE_HOT:
        return torch.nn.functional.one_hot(drawn.argmax(1), part.size).to(drawn.dtype)
    if part.kind == BINARY:
        return drawn.round()
    low, high = (torch.tensor(bound).clamp(-LIMIT, LIMIT) for bound in part.bounds)
    if part.is_bytes:
        low, high = (torch.tensor(bound) for bound in part.bounds)
        return (low + (high - low) * drawn).round()
    return low + (high - low) * drawn
