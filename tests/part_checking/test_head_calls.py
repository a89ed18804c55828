from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.quantiles import Iqn
from dqn_cli.part_checking.head_calls import check_head


def scalar(name: str, method: Callable[..., Any]) -> Scalar:
    own = dataclass(type("Own", (Scalar,), {name: method}))
    head: Scalar = own(Loss.huber)
    return head


UNENDING = "backup: with discount 0 the target depends on z, though the episode terminated"
WRONG: list[tuple[Scalar, str]] = [
    (scalar("q", lambda self, z: z), "q(z) returns shape [4, 3, 1], and must return [4, 3]"),
    (scalar("q", lambda self, z: z[:, :, 0]), "q(z[:, 0]) raised IndexError: "),
    (
        scalar("backup", lambda self, r, d, z, policy, shift: r + d),
        "backup(reward, discount, z, policy, None) returns shape [4], and must return [4, any]",
    ),
    (
        scalar("backup", lambda self, r, d, z, p, shift: (r + (p * self.q(z)).sum(1))[:, None]),
        UNENDING,
    ),
    (
        scalar("td_loss", lambda self, z, target, taus: (z - target) ** 2),
        "td_loss(z, target, taus)",
    ),
    (scalar("td_loss", lambda self, z, y, taus: 0 * (z - y)[:, 0]), "td_loss has no gradient"),
    (scalar("td_loss", lambda self, z, y, taus: y[:, 0]), "td_loss has no gradient"),
    (scalar("mean", lambda self, target: target), "mean(target) returns shape [4, 1]"),
    (scalar("edge_mass", lambda self, target: 0.0), "edge_mass(target) returns float"),
    (scalar("fold", lambda self, p, z: z[:1]), "fold returns shape [1, 3, 1], and must return"),
]


@pytest.mark.parametrize(("head", "line"), WRONG, ids=lambda value: str(value)[:30])
def test_one_line_says_what_is_wrong(head: Scalar, line: str) -> None:
    problems = list(check_head(head))
    assert problems[0].startswith(line)


def test_levels_that_are_drawn_reach_the_loss() -> None:
    assert list(check_head(Iqn(4, 8))) == []

    class Halved(Iqn):
        def expand(self, p: Any, features: Tensor) -> Tensor:
            return super().expand(p, features)[::2]

    (problem,) = check_head(Halved(4, 8))
    assert problem.startswith(("outputs, embedding, expand or fold raised", "fold returns"))
    assert torch.is_grad_enabled()
