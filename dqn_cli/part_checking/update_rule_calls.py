"""Calls of an update rule's methods, and what must hold of the policy over next actions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from dqn_cli.agent.batch import Batch
from dqn_cli.agent.update_rules import UpdateRule
from dqn_cli.part_checking.calls import Call, Expected, find_compiling_problems, find_problems
from dqn_cli.part_checking.made_up_inputs import ACTIONS, BATCH, masks, normal, transitions


def check_update_rule(rule: UpdateRule) -> Iterator[str]:
    """Yield what is wrong with an update rule."""
    each = Expected((BATCH, ACTIONS))
    q = normal(BATCH, ACTIONS), normal(BATCH, ACTIONS, seed=1)
    paid = (q[0], *transitions())
    calls = [
        Call("bootstrap(target_q, online_q, mask)", _bootstrap, (*q, masks()), (each, each)),
        Call("bonus(target_q, batch)", _bonus, paid, (Expected((BATCH,)),)),
    ]
    problems = [line for call in calls for line in find_problems(rule, call)]
    yield from problems or [*_rules(rule, q)] or find_compiling_problems(rule, calls)


def _rules(rule: UpdateRule, q: tuple[Tensor, Tensor]) -> Iterator[str]:
    """Yield what a policy must not do, whatever it prefers."""
    legal = masks()
    # Illegal actions seem best.
    tempting = [values.masked_fill(~legal, 100.0) for values in q]
    policy, shift = rule.bootstrap(tempting[0], lambda: tempting[1], legal)
    if bool((policy[~legal] != 0).any()):
        yield "bootstrap gives illegal actions a probability: mask is False where they are"
    if not torch.allclose(policy.sum(1), torch.ones(BATCH), 1e-4, 1e-4):
        yield "bootstrap returns a policy whose probabilities do not add up to 1"
    if shift is not None and not bool(torch.isfinite(shift).all()):
        yield "bootstrap returns a shift that is NaN or infinite, also of illegal actions"


def _bootstrap(rule: UpdateRule, target_q: Tensor, online_q: Tensor, mask: Tensor) -> Any:
    return tuple(rule.bootstrap(target_q, lambda: online_q, mask))


def _bonus(rule: UpdateRule, target_q: Tensor, *batch: Tensor) -> Any:
    return rule.bonus(lambda: target_q, Batch(*batch))
