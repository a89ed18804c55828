"""Parameters of a network: one flat vector, and named views of it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor


class Parameter(NamedTuple):
    """Shape of one parameter, and the interval of its initial values, drawn uniformly.

    The bounds are numbers, or one for each element. What does not learn has no gradient.
    """

    shape: tuple[int, ...]
    low: float | tuple[float, ...]
    high: float | tuple[float, ...]
    learns: bool = True


Layout = dict[str, Parameter]


def size(layout: Layout) -> int:
    """Return the length of the flat vector."""
    return sum(math.prod(parameter.shape) for parameter in layout.values())


def initial(layout: Layout, random: np.random.Generator) -> Tensor:
    """Draw a flat float64 vector of initial values, [size]."""
    draws = [random.uniform(p.low, p.high, math.prod(p.shape)) for p in layout.values()]
    return torch.from_numpy(np.concatenate(draws))


def views(flat: Tensor, layout: Layout) -> dict[str, Tensor]:
    """Return the named parameters as views of the flat vector [size]; gradients flow through."""
    # One split has one backward pass, which concatenates; slices would add padded gradients.
    pieces = torch.split(flat, [math.prod(parameter.shape) for parameter in layout.values()])
    named = zip(layout.items(), pieces, strict=True)
    return {name: piece.view(parameter.shape) for (name, parameter), piece in named}
