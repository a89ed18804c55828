"""Updates before the first step, on logged transitions alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from dqn_cli.training.loop import Run, StepReport, learn, per_member
from dqn_cli.training.progress import progress
from dqn_cli.training.settings import Settings


def pretrain(settings: Sequence[Settings], run: Run) -> Iterator[StepReport]:
    """Learn from logged transitions before the first step; yield after each update.

    An update counts as the steps that it takes in training for target networks that count steps.
    Learning rates, and beta of prioritised replay, stay at their start, unless the run has no steps
    at all: then they go through their whole schedule. Schedules of epsilon begin afterwards.
    """
    total, sampler = settings[0].data.pretrain, run.data_sampler
    if sampler is None or run.clocks[0].steps or run.clocks[0].updates >= total:
        return
    run.learner.use(sampler)
    none = np.zeros((len(settings), 1))
    while run.clocks[0].updates < total:
        before = run.clocks
        learn(settings, run, 1, per_member(run, progress, settings, before), sampler)
        finished = [share >= 1 for share in per_member(run, progress, settings, run.clocks)]
        yield StepReport(before, run.clocks, None, [[]] * len(settings), none, 1, finished)
    run.learner.use(run.sampler)
    run.learning_began = run.clocks
