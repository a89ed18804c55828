"""Layers of a network that a checkpoint has too, by their names and shapes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dqn_cli.agent.parameters import Layout

Shapes = Mapping[str, tuple[int, ...]]  # of a checkpoint's parameters, in their order


class Layers(NamedTuple):
    """Parameters of a network that a checkpoint has, and layers that it has not as they are."""

    taken: list[str]  # parameters
    drawn: list[str]  # layers, with their shapes there and here
    unused: list[str]  # layers of the checkpoint alone


def compare(stored: Shapes, own: Layout) -> Layers:
    """Compare the shapes of a checkpoint's parameters with those of a network.

    A layer is taken as a whole: if one of its parameters has another shape, all are reinitialized.
    """
    shapes = {name: tuple(parameter.shape) for name, parameter in own.items()}
    different = {
        _layer(name): f"{_layer(name)} ({_shape(stored[name])} there, {_shape(shape)} here)"
        for name, shape in reversed(shapes.items())
        if name in stored and tuple(stored[name]) != shape
    }
    taken = [name for name in shapes if name in stored and _layer(name) not in different]
    drawn = [name for name in shapes if name not in taken]
    unused = [name for name in stored if name not in shapes]
    return Layers(
        taken,
        list(dict.fromkeys(different.get(_layer(name), _layer(name)) for name in drawn)),
        list(dict.fromkeys(map(_layer, unused))),
    )


def fill(
    own: Tensor, layout: Layout, parameters: Tensor, shapes: Shapes, taken: Sequence[str]
) -> Tensor:
    """Return a network's parameters [size] with those that are taken from a checkpoint.

    Args:
        own: Parameters of the network, [size].
        layout: Their layout.
        parameters: Parameters of the checkpoint.
        shapes: Their shapes.
        taken: Names of those that are taken.
    """
    split = torch.split(parameters, [math.prod(shape) for shape in shapes.values()])
    stored = dict(zip(shapes, split, strict=True))
    pieces = torch.split(own, [math.prod(parameter.shape) for parameter in layout.values()])
    named = zip(layout, pieces, strict=True)
    return torch.cat([stored[name].to(piece) if name in taken else piece for name, piece in named])


def _layer(name: str) -> str:
    return name.rpartition(".")[0] or name


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "1"
