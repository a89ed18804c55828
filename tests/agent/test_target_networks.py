from __future__ import annotations

import pytest

from dqn_cli.agent.clock import Clock, Unit
from dqn_cli.agent.target_networks import Hard, NoTarget, Soft, TargetNetwork

BEFORE = Clock(99, 49, 9)
STEPPED = Clock(100, 49, 9)
UPDATED = Clock(99, 50, 9)
FINISHED = Clock(99, 49, 10)


@pytest.mark.parametrize(
    ("rule", "now", "share"),
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
def test_share_of_the_online_network_blended_in(rule: Target, now: Clock, share: float) -> None:
    assert rule.blend(BEFORE, now) == share


@pytest.mark.parametrize("rule", [Hard(1, Unit.steps), Soft(0.5), NoTarget()])
def test_nothing_is_blended_while_time_stands_still(rule: Target) -> None:
    assert rule.blend(BEFORE, BEFORE) == 0.0


def test_hard_copies_once_even_where_several_multiples_were_crossed() -> None:
    assert Hard(2, Unit.steps).blend(Clock(0), Clock(8)) == 1.0


def test_hard_copies_when_environments_step_over_the_multiple_together() -> None:
    blends = [Hard(10, Unit.steps).blend(Clock(at), Clock(at + 4)) for at in range(0, 40, 4)]
    # the steps 4, 8, 12, ... pass 10 at 12, reach 20 at 20, pass 30 at 32 and reach 40 at 40
    assert blends == [0, 0, 1, 0, 1, 0, 0, 1, 0, 1]
