"""Printed output of a search: a line of progress, the best trials, and the finalists."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import timedelta

from optuna.trial import TrialState
from rich.table import Table

from dqn_cli.commands.search_jobs import trial_words
from dqn_cli.evaluation.tables import format_return, format_seed_interval, table_console
from dqn_cli.searching.finalists import Finalist
from dqn_cli.searching.study import Record, Study

SHOWN = 10  # trials in the table


class Progress:
    """Lines of progress of a search."""

    def __init__(self, study: Study, trials: int) -> None:
        """Begin to measure time, for a search of so many trials in all."""
        self._study, self._trials = study, trials
        self._start, self._ended_before = time.monotonic(), len(_ended(study.records()))

    def print(self) -> None:
        """Print how many trials have ended, the best one, and the time that is left."""
        records = self._study.records()
        ended = _ended(records)
        text = f"search: {len(ended)} of {self._trials} trials done"
        for state, word in ((TrialState.PRUNED, "pruned"), (TrialState.FAIL, "failed")):
            if count := sum(trial.state is state for trial in records):
                text += f", {count} {word}"
        if best := best_trials(records)[:1]:
            (trial,) = best
            words = " ".join(trial_words(trial))
            text += f"; best {format_return(trial.score or 0.0)}, trial {trial.number}: {words}"
        new = len(ended) - self._ended_before
        if new and (left := self._trials - len(ended)) > 0:
            seconds = round((time.monotonic() - self._start) / new * left)
            text += f"; eta {timedelta(seconds=seconds)}"
        print(text, flush=True)

    def print_rung(self, rung: int, kept: int, compared: int) -> None:
        """Print how many trials go on at a rung."""
        print(f"search: at step {rung:,}, {kept} of {compared} trials go on", flush=True)


def best_trials(records: Sequence[Record]) -> list[Record]:
    """Return the trials that were trained to the end, the best first."""
    complete = [trial for trial in records if trial.is_complete]
    return sorted(complete, key=lambda trial: (-(trial.score or 0.0), trial.number))


def report_trials(study: Study) -> None:
    """Print the best trials, and how much each hyperparameter matters."""
    best = best_trials(study.records())[:SHOWN]
    if not best:
        return
    keys = list(best[0].values)
    table = Table(caption="score: mean of the trial's runs in the search")
    for heading in ("trial", *keys, "score"):
        table.add_column(heading, justify="right" if heading == "score" else "left")
    for trial in best:
        values = [word.partition("=")[2] for word in trial_words(trial)]
        table.add_row(str(trial.number), *values, format_return(trial.score or 0.0))
    table_console().print(table)
    importances = study.importances()
    if len(importances) > 1:
        shares = "  ".join(f"{key} {share:.0%}" for key, share in importances.items())
        print(f"importance for good scores: {shares}")
    sys.stdout.flush()


def report_finalists(finalists: Sequence[Finalist], objective: str) -> None:
    """Print the scores of the finalists in the search and on fresh seeds."""
    table = Table(caption=f"{objective} mean return; fresh: on seeds that the search has not seen")
    for heading in ("trial", "search", "fresh", "interval", "worst", "seeds"):
        table.add_column(heading, justify="left" if heading == "trial" else "right")
    for trial, fresh, runs in finalists:
        table.add_row(
            str(trial.number),
            format_return(trial.score or 0.0),
            format_return(fresh.mean),
            format_seed_interval(fresh.mean_ci95, runs),
            format_return(fresh.min),
            str(runs),
        )
    table_console().print(table)
    print(_winner_text(finalists), flush=True)


def _winner_text(finalists: Sequence[Finalist]) -> str:
    """Return which trial wins, and how much less the one that the search chose has now."""
    winner = finalists[0]
    chosen = max(finalists, key=lambda finalist: finalist.trial.score or 0.0)
    text = (
        f"trial {winner.trial.number} wins with {format_return(winner.fresh.mean)} on fresh seeds,"
        f" after {format_return(winner.trial.score or 0.0)} in the search"
    )
    if chosen is winner:
        return text
    return (
        f"{text}; trial {chosen.trial.number}, the best there with"
        f" {format_return(chosen.trial.score or 0.0)}, has {format_return(chosen.fresh.mean)}"
    )


def _ended(records: Sequence[Record]) -> list[Record]:
    return [trial for trial in records if not trial.is_running]
