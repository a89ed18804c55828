from __future__ import annotations

import pytest

from dqn_cli.agent.clock import Clock, Unit
from dqn_cli.agent.target_networks import Hard, NoTarget, Soft, TargetNetwork

BEFORE = Clock(99, 49, 9)
STEPPED = Clock(100, 49, 9)
UPDATED = Clock(99, 50, 9)
FINISHED = Clock(99, 49, 10)


@pytest.mark.parametrize(
    ("rule", "now", "coefficient"),
    [
        (Hard(100, Unit.steps), STEPPED, 1.0),
        (Hard(100, Unit.steps), UPDATED, 0.0),
        (Hard(100, Unit.steps), FINISHED, 0.0),
        (Hard(50, Unit.updates), UPDATED, 1.0),
        (Hard(50, Unit.updates), STEPPED, 0.0),
        (Hard(10, Unit.episodes), FINISHED, 1.0),
        (Hard(10, Unit.episodes), STEPPED, 0.0),
        (Hard(11, Unit.episodes), FINISHED, 0.0),
        (Soft(0.25), UPDATED, 0.25),
        (Soft(0.25), STEPPED, 0.0),
        (Soft(0.25), FINISHED, 0.0),
        (NoTarget(), UPDATED, 1.0),
        (NoTarget(), STEPPED, 0.0),
    ],
)
def test_the_coefficient_is_due_when_the_rules_own_unit_has_passed(
    rule: TargetNetwork, now: Clock, coefficient: float
) -> None:
    assert rule.polyak_coefficient(BEFORE, now) == coefficient


@pytest.mark.parametrize("rule", [Hard(1, Unit.steps), Soft(0.5), NoTarget()])
def test_the_coefficient_is_zero_while_time_stands_still(rule: TargetNetwork) -> None:
    assert rule.polyak_coefficient(BEFORE, BEFORE) == 0.0


def test_hard_copies_once_even_where_several_multiples_were_crossed() -> None:
    assert Hard(2, Unit.steps).polyak_coefficient(Clock(0), Clock(8)) == 1.0


def test_hard_copies_when_environments_step_over_the_multiple_together() -> None:
    coefficients = [
        Hard(10, Unit.steps).polyak_coefficient(Clock(at), Clock(at + 4)) for at in range(0, 40, 4)
    ]
    # the steps 4, 8, 12, ... pass 10 at 12, reach 20 at 20, pass 30 at 32 and reach 40 at 40
    assert coefficients == [0, 0, 1, 0, 1, 0, 0, 1, 0, 1]
