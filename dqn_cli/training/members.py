"""Members: what runs of one structure share, and a member's mathematics mapped over all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from operator import itemgetter
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.agent import Agent

Part = TypeVar("Part")


def merge_parts(parts: Sequence[Part]) -> Part:
    """One part for all members: of numbers that differ it has an array, [members, 1]."""
    differing = {}
    for field in fields(parts[0]):  # type: ignore[arg-type]
        values = [getattr(part, field.name) for part in parts]
        numbers = all(isinstance(value, (int, float)) for value in values)
        if numbers and any(value != values[0] for value in values):
            differing[field.name] = np.array(values)[:, None]  # [members, 1]
    return replace(parts[0], **differing) if differing else parts[0]  # type: ignore[type-var]


def per_member(
    agent: Agent, scalars: Mapping[str, Tensor], function: Callable[..., Any]
) -> Callable[..., Any]:
    """`function(agent, *tensors)` for one member, made to work on all; `scalars` are [members].

    Arguments and results may be tensors or tuples of tensors, each with a leading axis [members].
    """
    members = next(iter(scalars.values())).shape[0]
    if members > 1 and not agent.network.is_large:

        def one(scalars: Mapping[str, Tensor], *arguments: Any) -> Any:
            return function(agent.with_scalars(scalars), *arguments)

        return partial(torch.func.vmap(one), dict(scalars))

    # vmap would double the overhead of each operation for nothing.
    own = [
        agent.with_scalars({key: value[member] for key, value in scalars.items()})
        for member in range(members)
    ]

    def in_turn(*arguments: Any) -> Any:
        results = [
            function(own[member], *(_map(itemgetter(member), x) for x in arguments))
            for member in range(members)
        ]
        return _map(_together, *results)

    return in_turn


def _together(*each: Tensor) -> Tensor:
    return torch.stack(each) if len(each) > 1 else each[0].unsqueeze(0)  # [members, ...]


def _map(function: Callable[..., Tensor], *values: Any) -> Any:
    """The function of tensors, or of those that stand at the same place of nested tuples."""
    first = values[0]
    if isinstance(first, Tensor):
        return function(*values)
    mapped = (_map(function, *items) for items in zip(*values, strict=True))
    return type(first)(*mapped) if hasattr(first, "_fields") else tuple(mapped)
