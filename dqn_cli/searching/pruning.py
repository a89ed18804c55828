"""Effects of pruning on a search: trials that ended at each rung, and steps not taken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from optuna.trial import TrialState

from dqn_cli.searching.study import Record


class Rung(NamedTuple):
    """A step at which trials were compared."""

    step: int
    compared: int  # trials
    ended: int  # of them, those that were pruned here


class Pruning(NamedTuple):
    """The rungs of a search, and the steps of its trials that have ended without failing."""

    rungs: list[Rung]
    trials: int
    steps: int  # environment steps taken, in all runs of these trials
    unpruned: int | None  # they would have taken without pruning; None: none was trained to the end


def pruning_of(trials: Sequence[Record], seeds: int, extra_seeds: int = 0) -> Pruning:
    """Return what pruning did to trials of so many runs each, and more at each rung passed."""
    pruned = [trial for trial in trials if trial.state is TrialState.PRUNED]
    complete = [trial for trial in trials if trial.is_complete]
    length = max((step for trial in complete for step in trial.scores), default=None)
    rungs = {step for trial in trials for step in trial.scores} - {length}
    most = seeds + extra_seeds * len(rungs)
    ended = [*pruned, *complete]
    return Pruning(
        rungs=[_rung(step, trials, pruned) for step in sorted(rungs)],
        trials=len(ended),
        steps=sum(
            (seeds + extra_seeds * (len(trial.scores) - 1)) * max(trial.scores, default=0)
            for trial in ended
        ),
        unpruned=None if length is None else most * length * len(ended),
    )


def _rung(step: int, trials: Sequence[Record], pruned: Sequence[Record]) -> Rung:
    compared = sum(step in trial.scores for trial in trials)
    return Rung(step, compared, sum(max(trial.scores, default=None) == step for trial in pruned))
