"""Calls of an auxiliary part's methods, and what must hold of its parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.auxiliary import Auxiliary, layout_of_parts, parameters_of
from dqn_cli.agent.batch import Batch
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.model import Model, NetworkOutputs
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.parameters import Layout, initial, views
from dqn_cli.part_checking.calls import (
    Call,
    Expected,
    find_compiling_problems,
    find_problems,
)
from dqn_cli.part_checking.made_up_inputs import ACTIONS, BATCH, NUMBERS, normal, transitions
from dqn_cli.text import error_text

NAME = "checked"  # that its parameters have in the layout
MODEL = Model(NUMBERS, Mlp([8, 8], False, False, False, False, 0.5), Scalar(Loss.huber))


def check_auxiliary(part: Auxiliary) -> Iterator[str]:
    """Yield what is wrong with an auxiliary part."""
    if type(part).loss is Auxiliary.loss and not part.has_bonus:
        yield "it has neither loss nor bonus, so that it does nothing"
        return
    try:
        learned, constants = layout_of_parts({NAME: part}, MODEL)
    except Exception as error:  # the user's code may raise anything
        yield f"layout or constants raised {error_text(error)}"
        return
    layout = MODEL.network_layout | learned | constants
    flat = initial(layout, np.random.default_rng(0)).float()
    calls = list(_calls(part, layout, flat))
    problems = [line for call in calls for line in find_problems(part, call)]
    problems = problems or [*_unused(part, layout, learned, flat)]
    yield from problems or find_compiling_problems(part, calls)


def _calls(part: Auxiliary, layout: Layout, flat: Tensor) -> Iterator[Call]:
    each, z = (Expected((BATCH,)),), normal(BATCH, ACTIONS, 1)

    def loss(own: Auxiliary, flat: Tensor, z: Tensor, *batch: Tensor) -> Any:
        return own.loss(_named(layout, flat), MODEL, _outputs(z), Batch(*batch))

    def bonus(own: Auxiliary, flat: Tensor, *batch: Tensor) -> Any:
        return own.bonus(_named(layout, flat), MODEL, Batch(*batch))

    yield Call("loss(p, model, outputs, batch)", loss, (flat, z, *transitions()), each)
    yield Call("bonus(p, model, batch)", bonus, (flat, *transitions()), each)
    if type(part).observe is Auxiliary.observe:
        return
    shapes = part.constants(MODEL)
    changed = tuple(Expected(shapes[name].shape) for name in _observe(part, layout, flat))

    def observe(own: Auxiliary, flat: Tensor, obs: Tensor) -> Any:
        return tuple(own.observe(_named(layout, flat), MODEL, obs).values())

    yield Call("observe(p, model, obs)", observe, (flat, transitions().obs), changed)


def _observe(part: Auxiliary, layout: Layout, flat: Tensor) -> list[str]:
    """Return the names of the constants that observations change."""
    return list(part.observe(_named(layout, flat), MODEL, transitions().obs))


def _unused(part: Auxiliary, layout: Layout, learned: Layout, flat: Tensor) -> Iterator[str]:
    """Yield which parameters of its own the loss does not reach."""
    named = {name: x.clone() for name, x in views(flat, layout).items()}
    own = {name: named[name].requires_grad_() for name in learned}
    if not own:
        return
    p = parameters_of(NAME, named)
    loss = part.loss(p, MODEL, _outputs(normal(BATCH, ACTIONS, 1)), transitions())
    gradients: Sequence[Tensor | None] = [None] * len(own)
    if loss is not None and loss.requires_grad:
        gradients = torch.autograd.grad(loss.sum(), [*own.values()], allow_unused=True)
    if unused := [key for key, x in zip(own, gradients, strict=True) if x is None]:
        names = ", ".join(key.rpartition(f"{NAME}.")[2] for key in unused[:3])
        yield f"loss does not use {names} of layout: what nothing learns belongs to constants"


def _named(layout: Layout, flat: Tensor) -> dict[str, Tensor]:
    return dict(parameters_of(NAME, views(flat, layout)))


def _outputs(z: Tensor) -> NetworkOutputs:
    """Return network outputs that are all the same z [batch, actions, 1]."""
    q = z.squeeze(2)  # [batch, actions]
    return NetworkOutputs(z, z.new_zeros(len(z), 0), z.detach(), lambda: q, lambda: q)
