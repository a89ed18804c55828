"""Periods of a run: which rows, evaluations and checkpoints are due after a report."""

from __future__ import annotations

from typing import NamedTuple

from dqn_cli.agent.clock import crossings
from dqn_cli.training.loop import StepReport
from dqn_cli.training.progress import position
from dqn_cli.training.settings import Settings


class Due(NamedTuple):
    """Outputs that are due after a step."""

    row: bool
    evaluation: bool
    checkpoint: bool
    is_first_row: bool
    progress: bool = False  # is shown, without a row


def positions(settings: Settings, report: StepReport) -> tuple[int, int]:
    """Return what periods count before a report and now: steps, or updates of a run without."""
    return position(settings, report.before[0]), position(settings, report.now[0])


def due(settings: Settings, report: StepReport) -> Due:
    """Return what is due after a report.

    Updates before the first step have checkpoints only, and an evaluation after the last of them.
    """
    before, now = positions(settings, report)
    log, checkpoint = settings.log.every, settings.checkpoint.every
    if report.step is None and settings.steps:
        before, now = report.before[0].updates, report.now[0].updates
        return Due(
            row=False,
            evaluation=now == settings.data.pretrain,
            checkpoint=crossings(before, now, checkpoint) > 0,
            is_first_row=False,
            progress=crossings(before, now, log) > 0,
        )
    row = crossings(before, now, log) > 0
    return Due(
        row,
        crossings(before, now, settings.eval.every) > 0,
        crossings(before, now, checkpoint) > 0,
        is_first_row=row and before < log,
    )
