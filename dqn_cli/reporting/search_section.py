"""Section of a report on a search, beside the runs of its finalists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from optuna.trial import TrialState

from dqn_cli.reporting.csv_files import write_csv
from dqn_cli.reporting.page import SearchSection
from dqn_cli.reporting.search_paintings import draw_importances, draw_trials
from dqn_cli.searching.pruning import Pruning, pruning_of
from dqn_cli.searching.space import typed_word
from dqn_cli.searching.stored_search import StoredSearch
from dqn_cli.searching.study import ENOUGH, Record

STATES = {
    TrialState.COMPLETE: "trained to the end",
    TrialState.PRUNED: "pruned",
    TrialState.FAIL: "failed",
    TrialState.RUNNING: "not ended",
    TrialState.WAITING: "not begun",
}
TRIAL_COLUMNS = ("trial", "state", "score", "step")


def search_section(name: str, search: StoredSearch, folder: Path, number: int) -> SearchSection:
    """Write charts and trials of a search, and return its part of the page.

    Args:
        name: Name of the search.
        search: The search.
        folder: Where charts and table go.
        number: Place of the search among those of the report, from 0.
    """
    suffix = f"_{number + 1}" if number else ""
    charts = []
    if len(search.importances) > 1:
        charts.append(draw_importances(search.importances, folder, f"importance{suffix}"))
    if search.trials:
        charts.append(draw_trials(search.domains, search.trials, folder, f"trials{suffix}"))
    table = f"trials{suffix}.csv"
    _write_trials(folder / table, search)
    effect = pruning_of(search.trials, search.seeds, search.extra_seeds)
    rungs: list[Sequence[str]] = [
        (f"{rung.step:,}", str(rung.compared), str(rung.ended), str(rung.compared - rung.ended))
        for rung in effect.rungs
    ]
    return SearchSection(name, _summary(search), _pruning(effect), charts, rungs, table)


def _summary(search: StoredSearch) -> str:
    counts = Counter(STATES[trial.state] for trial in search.trials)
    parts = [f"{counts[word]} {word}" for word in STATES.values() if counts[word]]
    runs = "1 run" if search.seeds == 1 else f"{search.seeds} runs"
    if search.extra_seeds:
        runs += f" and {search.extra_seeds} more at each rung passed,"
    text = f"{len(search.trials)} trials of {runs} each: {', '.join(parts) or 'none yet'}."
    if not search.importances:
        text += f" Importances are told from {ENOUGH} trials on that were trained to the end."
    return text


def _pruning(effect: Pruning) -> str:
    """Return what pruning saved."""
    if not effect.rungs:
        return "No trial was compared before its end, so there was no pruning."
    if effect.unpruned is None:
        return "No trial was trained to the end yet, so what pruning saves is not known."
    share = effect.steps / effect.unpruned
    return (
        f"{effect.trials} trials took {effect.steps:,} environment steps; without pruning, they"
        f" would have taken {effect.unpruned:,} ({share:.0%} were enough). Finalists' runs on fresh"
        " seeds are not counted."
    )


def _write_trials(path: Path, search: StoredSearch) -> None:
    columns = (*TRIAL_COLUMNS, *search.domains)
    write_csv(path, columns, (_trial_cells(trial, search) for trial in search.trials))


def _trial_cells(trial: Record, search: StoredSearch) -> Sequence[object]:
    values = [typed_word("", trial.values[key])[1:] for key in search.domains]
    step = max(trial.scores, default=None)
    return (trial.number, trial.state.name.lower(), trial.score, step, *values)
