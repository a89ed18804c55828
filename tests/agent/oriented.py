"""The layers of a network as matrices [inputs, outputs], whichever way round they are stored."""

from __future__ import annotations

import math

from torch import Tensor

from dqn_cli.agent.layers import Parameters
from dqn_cli.agent.parameters import Layout


def sizes(layout: Layout, name: str) -> tuple[int, int]:
    """How many inputs and outputs a layer has."""
    shape, (outputs,) = layout[f"{name}.weight"].shape, layout[f"{name}.bias"].shape
    inputs = math.prod(shape) // outputs
    assert len(shape) == 4 or shape == (min(inputs, outputs), max(inputs, outputs))
    return inputs, outputs


def stored(matrix: Tensor) -> Tensor:
    """A dense layer's matrix [inputs, outputs] as the layer stores it: its longer axis is last."""
    return matrix.T.contiguous() if matrix.shape[0] > matrix.shape[1] else matrix


def matrix(p: Parameters, name: str, kind: str = "weight") -> Tensor:
    """A layer's weight as [inputs, outputs]; a convolution's inputs are its windows' pixels."""
    weight, outputs = p[f"{name}.{kind}"], len(p[f"{name}.bias"])
    if weight.dim() == 4:
        return weight.flatten(1).T
    inputs = weight.numel() // outputs
    assert weight.shape == (min(inputs, outputs), max(inputs, outputs))
    return weight.T if inputs > outputs else weight


def torch_state(p: Parameters, name: str) -> dict[str, Tensor]:
    """What a Linear or a Conv2d of torch loads in order to be this layer."""
    weight = p[f"{name}.weight"]
    theirs = weight if weight.dim() == 4 else matrix(p, name).T  # [outputs, inputs, ...]
    return {"weight": theirs, "bias": p[f"{name}.bias"]}
