"""ReDo: reinitialization of dormant units during training (Sokar et al. 2023, algorithm 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from dqn_cli.agent.parameters import Layout, views


class Links(NamedTuple):
    """Layers before and after the units of a hidden layer."""

    incoming: tuple[str, ...]  # their outputs are the units
    outgoing: tuple[str, ...]  # the units are among their inputs
    block: int = 0  # which of `blocks` equal parts of these inputs they are
    blocks: int = 1


def recycle(
    layout: Layout,
    links: Mapping[str, Links],
    dormant: Mapping[str, Tensor],
    parameters: Tensor,
    fresh: Tensor,
) -> tuple[Tensor, Tensor]:
    """Reinitialize the incoming weights of dormant units, and zero their outgoing weights.

    A weight from one dormant unit to another is reinitialized, not zeroed.

    Args:
        layout: Layout of the parameters.
        links: Layers around the units of each hidden layer.
        dormant: Dormant units of hidden layers, bool [units].
        parameters: All parameters, [size].
        fresh: New initial values, [size].

    Returns:
        The parameters, and which of them have changed [size].
    """
    zeros = parameters.new_zeros(parameters.shape, dtype=torch.bool)
    drawn, silenced = views(zeros, layout), views(zeros, layout)
    for name in links.keys() & dormant.keys():
        units, link = dormant[name], links[name]
        for layer in link.incoming:
            for key, entry in layout.items():
                if key.rpartition(".")[0] == layer and not key.endswith(".singular_vector"):
                    drawn[key] = drawn[key] | _of_outputs(units, entry.shape)
        for layer in link.outgoing:
            key, (outputs,) = f"{layer}.weight", layout[f"{layer}.bias"].shape
            of_units = _of_inputs(units, link, outputs, layout[key].shape)
            silenced[key] = silenced[key] | of_units
    is_drawn, is_silenced = _flat(drawn), _flat(silenced)
    kept = torch.where(is_silenced, 0, parameters)
    return torch.where(is_drawn, fresh, kept), is_drawn | is_silenced


def _of_outputs(units: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Return which elements of a layer's parameter belong to outputs [units]."""
    if len(shape) == 2 and shape[1] == len(units):  # [inputs, outputs]
        return units.expand(shape)
    return units.view(-1, *[1] * (len(shape) - 1)).expand(shape)  # [*shape]


def _of_inputs(units: Tensor, link: Links, outputs: int, shape: tuple[int, ...]) -> Tensor:
    """Return which elements of a weight take units as inputs; a channel is many of them."""
    if len(shape) == 4:  # of a convolution
        return units.view(1, -1, 1, 1).expand(shape)  # [*shape]
    inputs = math.prod(shape) // outputs
    pixels = inputs // (link.blocks * len(units))
    own = units[:, None].expand(-1, pixels).flatten()  # [units * pixels]
    blocks = [torch.zeros_like(own)] * link.blocks
    blocks[link.block] = own
    rows = torch.cat(blocks)  # [inputs]
    return rows[:, None].expand(shape) if shape[1] == outputs else rows.expand(shape)


def _flat(named: Mapping[str, Tensor]) -> Tensor:
    return torch.cat([values.flatten() for values in named.values()])  # [size]
