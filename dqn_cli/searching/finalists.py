"""The best trials of a search, evaluated again on seeds that it has not seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from dqn_cli.evaluation.statistics import Summary, summarize
from dqn_cli.searching.study import Record
from dqn_cli.searching.trial_scores import Objective, run_score


class Finalist(NamedTuple):
    """A trial, and its scores on fresh seeds."""

    trial: Record
    fresh: Summary
    runs: int


def rank_finalists(
    chosen: Iterable[tuple[Record, Sequence[Path]]], objective: Objective
) -> list[Finalist]:
    """Return the finalists with runs on fresh seeds, that of the highest mean first.

    Trials with failed runs come last, because their other runs are a biased sample.
    """
    finalists = [
        Finalist(trial, summarize([run_score(run, objective) for run in runs]), len(runs))
        for trial, runs in chosen
        if runs
    ]
    most = max((finalist.runs for finalist in finalists), default=0)
    return sorted(finalists, key=lambda finalist: (finalist.runs < most, -finalist.fresh.mean))
