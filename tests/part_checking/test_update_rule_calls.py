from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from dqn_cli.agent.batch import Batch
from dqn_cli.agent.update_rules import Bootstrap, Double, Dqn, LazyValues, UpdateRule, greedy
from dqn_cli.part_checking.update_rule_calls import check_update_rule


@dataclass
class Rule(UpdateRule):
    """A rule that bootstraps by a function."""

    policy: Callable[[Tensor, Tensor], Any]

    def bootstrap(self, target_q: Tensor, online_q: LazyValues, mask: Tensor) -> Bootstrap:
        result = self.policy(target_q, mask)
        return result if isinstance(result, Bootstrap) else Bootstrap(result, None)


WRONG: list[tuple[Callable[[Tensor, Tensor], Any], str]] = [
    (lambda q, mask: q.softmax(1), "bootstrap gives illegal actions a probability"),
    (lambda q, mask: mask.to(q.dtype), "bootstrap returns a policy whose probabilities do not"),
    (lambda q, mask: q.amax(1), "bootstrap(target_q, online_q, mask) returns shape [4]"),
    (
        lambda q, mask: Bootstrap(greedy(q, mask), (0 * q).masked_fill(~mask, -torch.inf)),
        "bootstrap(target_q, online_q, mask) returns NaN or infinity",
    ),
]


@pytest.mark.parametrize(("policy", "line"), WRONG)
def test_one_line_says_what_is_wrong(policy: Any, line: str) -> None:
    problems = list(check_update_rule(Rule(policy)))
    assert problems[0].startswith(line)


@dataclass
class Paid(Dqn):
    """A bonus of another shape."""

    def bonus(self, target_q: LazyValues, batch: Batch) -> Tensor | None:
        return target_q()


def test_a_bonus_is_one_number_for_each_row() -> None:
    assert list(check_update_rule(Double())) == []
    (problem,) = check_update_rule(Paid())
    assert problem.startswith("bonus(target_q, batch) returns shape [4, 3]")
