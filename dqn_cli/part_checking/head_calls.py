"""Calls of a head's methods, and what must hold of their results."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dqn_cli.agent.heads import Head
from dqn_cli.agent.model import Model
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.parameters import size
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
    discounts,
    normal,
    policy,
)
from dqn_cli.text import error_text

ROWS, EACH, TARGETS = Expected((BATCH,)), Expected((BATCH, ACTIONS)), Expected((BATCH, None))


def check_head(head: Head) -> Iterator[str]:
    """Yield what is wrong with a head."""
    try:
        z, taus = _network_outputs(head)
    except Exception as error:  # the user's code may raise anything
        yield f"outputs, embedding, expand or fold raised {error_text(error)} behind network=mlp"
        return
    if z.dim() != 3 or z.shape[:2] != (BATCH, ACTIONS):
        yield f"fold returns shape {list(z.shape)}, and must return [{BATCH}, {ACTIONS}, atoms]"
        return
    calls = _backups(z)
    problems = [line for call in calls for line in find_problems(head, call)]
    if not problems:  # the others need targets
        more = _losses(head, z, taus)
        problems = [line for call in more for line in find_problems(head, call)]
        calls += more
    yield from problems or [*_rules(head, z, taus)] or find_compiling_problems(head, calls)


def _backups(z: Tensor) -> list[Call]:
    """Return calls on the network's outputs, [batch, actions, atoms]."""
    inputs = (normal(BATCH, seed=2), discounts(), z, policy())
    shift = normal(BATCH, ACTIONS, seed=3)
    arguments = "reward, discount, z, policy"
    return [
        Call("q(z)", _q, (z,), (EACH,)),
        Call("q(z[:, 0])", _q, (z[:, 0].contiguous(),), (ROWS,)),
        Call(f"backup({arguments}, None)", _backup, inputs, (TARGETS,)),
        Call(f"backup({arguments}, shift)", _backup, (*inputs, shift), (TARGETS,)),
    ]


def _losses(head: Head, z: Tensor, taus: Tensor) -> list[Call]:
    """Return calls on TD targets."""
    target, chosen = _target(head, z, discounts()), z[:, 0].contiguous()  # [batch, atoms]
    return [
        Call("mean(target)", _mean, (target,), (ROWS,)),
        Call("edge_mass(target)", _edge_mass, (target,), (ROWS,)),
        Call("td_loss(z, target, taus)", _td_loss, (chosen, target, taus), (ROWS,)),
    ]


def _network_outputs(head: Head) -> tuple[Tensor, Tensor]:
    """Return z [batch, actions, atoms] of a small network, and its levels [batch, samples]."""
    model = Model(NUMBERS, Mlp([8, 8], False, False, False, False, 0.5), head)
    taus = torch.rand(BATCH, head.samples, generator=torch.Generator().manual_seed(4))
    named = model.named(normal(size(model.layout)), normal(0), taus)
    z = model.z(named, normal(BATCH, 5, seed=5))
    return z.detach().contiguous(), taus


def _rules(head: Head, z: Tensor, taus: Tensor) -> Iterator[str]:
    """Yield what a loss or target must not do, whatever it computes."""
    ended = torch.zeros(BATCH)
    if not torch.allclose(_target(head, z, ended), _target(head, z + 1, ended), 1e-3, 1e-3):
        yield "backup: with discount 0 the target depends on z, though the episode terminated"
    chosen = z[:, 0].clone().requires_grad_()
    loss = head.td_loss(chosen, _target(head, z, discounts()), taus).sum()
    gradient = None
    if loss.requires_grad:
        (gradient,) = torch.autograd.grad(loss, chosen, allow_unused=True)
    if gradient is None or not bool(gradient.any()):
        yield "td_loss has no gradient for z: nothing would be learned"
    elif not bool(torch.isfinite(gradient).all()):
        yield "td_loss has a gradient for z that is NaN or infinite"


def _target(head: Head, z: Tensor, discount: Tensor) -> Tensor:
    return head.backup(normal(BATCH, seed=2), discount, z, policy(), None)


def _q(head: Head, z: Tensor) -> Any:
    return head.q(z)


def _backup(head: Head, *inputs: Tensor) -> Any:
    reward, discount, z, policy, *shift = inputs
    return head.backup(reward, discount, z, policy, shift[0] if shift else None)


def _mean(head: Head, target: Tensor) -> Any:
    return head.mean(target)


def _edge_mass(head: Head, target: Tensor) -> Any:
    return head.edge_mass(target)


def _td_loss(head: Head, z: Tensor, target: Tensor, taus: Tensor) -> Any:
    return head.td_loss(z, target, taus)
