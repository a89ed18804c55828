"""Numbers in float64, which hand-worked results are compared in."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

DOUBLE = torch.float64
NO_TAUS = torch.zeros(1, 0)  # of a head without random levels


def tensor(values: Sequence[object]) -> Tensor:
    return torch.tensor(values, dtype=DOUBLE)


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))
