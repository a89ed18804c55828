from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from dqn_cli.agent.clock import Clock
from dqn_cli.runs.periods import Due, due, positions
from dqn_cli.training.loop import StepReport
from dqn_cli.training.settings import Settings

PERIODS = ("log.every=2", "eval.every=3", "checkpoint.every=4", "data.path=x", "data.pretrain=5")


def report(before: Clock, now: Clock, step: Any) -> StepReport:
    return StepReport([before], [now], step, [[]], np.zeros((1, 1)), 0, [False])


@pytest.mark.parametrize(
    ("steps", "before", "now", "is_step", "expected"),
    [
        (9, Clock(1, 5), Clock(2, 5), True, Due(True, False, False, True)),
        (9, Clock(2, 5), Clock(4, 5), True, Due(True, True, True, False)),
        # Before the first step there are no rows, and one evaluation, after the last update.
        (9, Clock(0, 1), Clock(0, 2), False, Due(False, False, False, False, True)),
        (9, Clock(0, 3), Clock(0, 4), False, Due(False, False, True, False, True)),
        (9, Clock(0, 4), Clock(0, 5), False, Due(False, True, False, False)),
        # Without steps, updates are what periods count.
        (0, Clock(0, 1), Clock(0, 2), False, Due(True, False, False, True)),
        (0, Clock(0, 2), Clock(0, 3), False, Due(False, True, False, False)),
        (0, Clock(0, 3), Clock(0, 4), False, Due(True, False, True, False)),
    ],
)
def test_periods_count_steps_or_else_updates(
    settings_of: Callable[..., Settings],
    steps: int,
    before: Clock,
    now: Clock,
    is_step: bool,
    expected: Due,
) -> None:
    settings = settings_of(*PERIODS, f"steps={steps}")
    of_step = report(before, now, object() if is_step else None)
    assert due(settings, of_step) == expected
    assert positions(settings, of_step) == ((before[0], now[0]) if steps else (before[1], now[1]))
