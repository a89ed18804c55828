"""Mapping a member's mathematics over the members of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from dqn_cli.agent.agent import Agent


def per_member(
    agent: Agent, scalars: Mapping[str, Tensor], function: Callable[..., Any]
) -> Callable[..., Any]:
    """`function(agent, *tensors)` for one member, made to work on all; `scalars` are [members].

    Arguments and results may be tensors or tuples of tensors, each with a leading axis [members].
    """
    members = next(iter(scalars.values())).shape[0]
    if members > 1:

        def one(scalars: Mapping[str, Tensor], *arguments: Any) -> Any:
            return function(agent.with_scalars(scalars), *arguments)

        return partial(torch.func.vmap(one), dict(scalars))

    # vmap would double the overhead of each operation for nothing.
    own = agent.with_scalars({key: value[0] for key, value in scalars.items()})

    def only(*arguments: Any) -> Any:
        result = function(own, *(_map(lambda x: x[0], argument) for argument in arguments))
        return _map(lambda x: x.unsqueeze(0), result)

    return only


def _map(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    mapped = (_map(function, item) for item in value)
    return type(value)(*mapped) if hasattr(value, "_fields") else tuple(mapped)
