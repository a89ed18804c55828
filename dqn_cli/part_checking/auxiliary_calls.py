"""Calls of an auxiliary part's methods, and what must hold of its parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.auxiliary import Auxiliary, layout_of_parts, parameters_of
from dqn_cli.agent.batch import Batch, Following
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.minatar_cnn import MinAtarCnn
from dqn_cli.agent.model import Model, NetworkOutputs
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.parameters import Layout, initial, views
from dqn_cli.part_checking.calls import (
    Call,
    Expected,
    find_compiling_problems,
    find_problems,
)
from dqn_cli.part_checking.made_up_inputs import (
    ACTIONS,
    BATCH,
    NUMBERS,
    SMALL_PICTURES,
    following,
    normal,
    transitions,
)
from dqn_cli.text import error_text

NAME = "checked"  # that its parameters have in the layout
MODELS = (  # the first that a part takes
    Model(NUMBERS, Mlp([8, 8], False, False, False, False, 0.5), Scalar(Loss.huber)),
    Model(
        SMALL_PICTURES, MinAtarCnn([8], False, False, False, False, 0.5, [4]), Scalar(Loss.huber)
    ),
)


def check_auxiliary(part: Auxiliary) -> Iterator[str]:
    """Yield what is wrong with an auxiliary part."""
    has_loss = type(part).loss is not Auxiliary.loss
    has_following_loss = type(part).following_loss is not Auxiliary.following_loss
    if not (has_loss or has_following_loss or part.has_bonus):
        yield "it has neither loss nor bonus, so that it does nothing"
        return
    if has_following_loss != (part.following > 0):
        yield "following_loss reads as many steps as `following` says: it needs both"
        return
    refusals = []
    for model in MODELS:
        try:
            learned, constants = layout_of_parts({NAME: part}, model)
            break
        except Exception as error:  # the user's code may raise anything
            refusals.append(f"layout or constants raised {error_text(error)}")
    else:
        yield refusals[0]
        return
    layout = model.network_layout | learned | constants
    checked = _Checked(model, layout, initial(layout, np.random.default_rng(0)).float())
    calls = list(_calls(part, checked))
    problems = [line for call in calls for line in find_problems(part, call)]
    problems = problems or [*_unused(part, checked, learned)]
    yield from problems or find_compiling_problems(part, calls)


class _Checked(NamedTuple):
    """A model with the part's parameters."""

    model: Model
    layout: Layout
    flat: Tensor  # [size]

    def named(self, flat: Tensor) -> dict[str, Tensor]:
        """Return parameters by the part's names, and those of the network."""
        return dict(parameters_of(NAME, views(flat, self.layout)))


def _calls(part: Auxiliary, checked: _Checked) -> Iterator[Call]:
    model, flat = checked.model, checked.flat
    batch, each, z = transitions(model.spaces), (Expected((BATCH,)),), normal(BATCH, ACTIONS, 1)

    def loss(own: Auxiliary, flat: Tensor, z: Tensor, *batch: Tensor) -> Any:
        return own.loss(checked.named(flat), model, _outputs(z), Batch(*batch))

    def bonus(own: Auxiliary, flat: Tensor, *batch: Tensor) -> Any:
        return own.bonus(checked.named(flat), model, Batch(*batch))

    yield Call("loss(p, model, outputs, batch)", loss, (flat, z, *batch), each)
    yield Call("bonus(p, model, batch)", bonus, (flat, *batch), each)
    if part.following:
        after = following(model.spaces, part.following)
        name = "following_loss(p, target, model, batch, following)"
        yield Call(name, _following_loss(checked), (flat, *batch, *after), each)
    if type(part).observe is Auxiliary.observe:
        return
    shapes = part.constants(model)
    observed = part.observe(checked.named(flat), model, batch.obs)  # the constants that change
    changed = tuple(Expected(shapes[name].shape) for name in observed)

    def observe(own: Auxiliary, flat: Tensor, obs: Tensor) -> Any:
        return tuple(own.observe(checked.named(flat), model, obs).values())

    yield Call("observe(p, model, obs)", observe, (flat, batch.obs), changed)


def _following_loss(checked: _Checked) -> Callable[..., Any]:
    """Return a call of the loss, whose target parameters are smaller than the online ones."""
    fields = len(Batch._fields)

    def following_loss(own: Auxiliary, flat: Tensor, *data: Tensor) -> Any:
        batch, after = Batch(*data[:fields]), Following(*data[fields:])
        p, target = checked.named(flat), checked.named(0.9 * flat)
        return own.following_loss(p, target, checked.model, batch, after)

    return following_loss


def _unused(part: Auxiliary, checked: _Checked, learned: Layout) -> Iterator[str]:
    """Yield which parameters of its own the losses do not reach."""
    model = checked.model
    named = {name: x.clone() for name, x in views(checked.flat, checked.layout).items()}
    own = {name: named[name].requires_grad_() for name in learned}
    if not own:
        return
    p, batch = parameters_of(NAME, named), transitions(model.spaces)
    losses = [part.loss(p, model, _outputs(normal(BATCH, ACTIONS, 1)), batch)]
    if part.following:
        after = following(model.spaces, part.following)
        losses.append(part.following_loss(p, p, model, batch, after))
    total = sum(loss.sum() for loss in losses if loss is not None)
    gradients: Sequence[Tensor | None] = [None] * len(own)
    if isinstance(total, Tensor) and total.requires_grad:
        gradients = torch.autograd.grad(total, [*own.values()], allow_unused=True)
    if unused := [key for key, x in zip(own, gradients, strict=True) if x is None]:
        names = ", ".join(key.rpartition(f"{NAME}.")[2] for key in unused[:3])
        yield f"loss does not use {names} of layout: what nothing learns belongs to constants"


def _outputs(z: Tensor) -> NetworkOutputs:
    """Return network outputs that are all the same z [batch, actions, 1]."""
    q = z.squeeze(2)  # [batch, actions]
    return NetworkOutputs(z, z.new_zeros(len(z), 0), z.detach(), lambda: q, lambda: q)
