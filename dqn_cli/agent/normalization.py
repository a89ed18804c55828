"""Normalization of observations, in front of a network.

Offsets and factors stand at the end of the network's parameters, so a policy carries them wherever
it goes. They have no gradient. With `running`, the learner updates them from all observations.
"""

from __future__ import annotations

from enum import Enum

import torch
from torch import Tensor

from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.parameters import Layout, Parameter
from dqn_cli.agent.spaces import Part, Spaces, all_bounds

OFFSET, FACTOR = "normalization.offset", "normalization.factor"
LIMIT = 10.0  # of normalized numbers, as in Stable-Baselines3
EPSILON = 1e-8  # added to the variance
UNBOUNDED = 1e30  # some environments declare the largest float in place of infinity


class Normalization(Enum):
    """Scale that observations are brought to."""

    none = "none"
    running = "running"
    bounds = "bounds"


def normalized_parts(spaces: Spaces) -> list[Part]:
    """Return the parts that are normalized; of several, they come last.

    A picture of planes or codes is normalized if it is the whole observation.
    """
    if len(spaces.parts) == 1 and spaces.parts[0].has_planes:
        return list(spaces.parts)
    return [part for part in spaces.parts if part.can_be_normalized]


def normalized_shape(spaces: Spaces) -> tuple[int, ...]:
    """Return the shape of what is normalized in a frame, the parts at its end; () for nothing."""
    numbers = normalized_parts(spaces)
    if len(spaces.parts) == 1:
        return numbers[0].shape if numbers else ()
    size = sum(part.size for part in numbers)
    return (size,) if size else ()


def normalization_layout(spaces: Spaces, normalization: Normalization) -> Layout:
    """Return the layout of offset and factor, [*normalized_shape] each.

    Raises:
        ValueError: Nothing can be normalized, or `bounds` finds an element without them.
    """
    if normalization is Normalization.none:
        return {}
    shape = normalized_shape(spaces)
    if not shape:
        raise ValueError(
            f"env.normalize={normalization.name} finds nothing to normalize, because observations"
            " are choices, flags or pixels: use env.normalize=none"
        )
    if normalization is Normalization.running:
        return {OFFSET: Parameter(shape, 0, 0), FACTOR: Parameter(shape, 1, 1)}
    low, high = _finite_bounds(spaces)
    offset = tuple((most + least) / 2 for least, most in zip(low, high, strict=True))
    factor = tuple(2 / (most - least) for least, most in zip(low, high, strict=True))
    return {OFFSET: Parameter(shape, offset, offset), FACTOR: Parameter(shape, factor, factor)}


def normalize(p: Parameters, obs: Tensor, spaces: Spaces) -> Tensor:
    """Return observations [..., *shape] with their numbers normalized, if `p` has offsets."""
    if OFFSET not in p:
        return obs
    offset, factor = p[OFFSET].detach(), p[FACTOR].detach()
    if len(spaces.parts) == 1:
        return ((obs - offset) * factor).clamp(-LIMIT, LIMIT)
    size = len(offset)
    others, numbers = obs[..., :-size], obs[..., -size:]
    return torch.cat([others, ((numbers - offset) * factor).clamp(-LIMIT, LIMIT)], -1)


def picture_scale(p: Parameters, part: Part) -> float:
    """Return the factor of a picture's values: pixels become 0 to 1, unless they are normalized."""
    return 1.0 if OFFSET in p and part.can_be_normalized else part.scale


def _finite_bounds(spaces: Spaces) -> tuple[list[float], list[float]]:
    parts = normalized_parts(spaces)
    for part in parts:
        for least, most in zip(*part.bounds, strict=True):
            if not 0 < most - least < UNBOUNDED:
                where = f" of part {part.name}" if part.name else ""
                raise ValueError(
                    f"env.normalize=bounds needs finite bounds, and an element{where} of the"
                    f" observation runs from {least:g} to {most:g}: use env.normalize=running"
                )
    return all_bounds(parts)
