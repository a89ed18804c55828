from __future__ import annotations

from pathlib import Path

import pytest
from optuna.trial import TrialState

from dqn_cli.commands.search_report import (
    Progress,
    best_trials,
    report_finalists,
    report_trials,
)
from dqn_cli.evaluation.statistics import summarize
from dqn_cli.searching.finalists import Finalist
from dqn_cli.searching.space import Decimal, Space
from dqn_cli.searching.study import Record, Sampler, Study

Lines = pytest.CaptureFixture[str]


@pytest.fixture
def study(tmp_path: Path) -> Study:
    space = Space({"optimizer.lr": Decimal(0.1, 1.0), "gamma": Decimal(0.5, 1.0)})
    return Study(tmp_path / "search.db", space, Sampler.random, {})


def test_a_line_of_progress_has_the_best_trial_and_the_time_left(
    study: Study, capsys: Lines
) -> None:
    progress = Progress(study, 5)
    progress.print()
    assert capsys.readouterr().out == "search: 0 of 5 trials done\n"
    for number in range(4):
        study.ask(number)
    study.complete(0, 5.0)
    study.complete(1, 7.0)
    study.prune(2)
    study.fail(3)
    progress.print()
    line = capsys.readouterr().out
    values = study.record(1).values
    best = f"best 7.00, trial 1: optimizer.lr={values['optimizer.lr']:.4g} gamma="
    assert line.startswith(f"search: 4 of 5 trials done, 1 pruned, 1 failed; {best}")
    assert "; eta 0:0" in line
    Progress(study, 4).print()
    assert "eta" not in capsys.readouterr().out
    progress.print_rung(5_000, 1, 3)
    assert capsys.readouterr().out == "search: at step 5,000, 1 of 3 trials go on\n"


def test_only_complete_trials_are_ranked() -> None:
    ends = [(TrialState.PRUNED, 9.0), (TrialState.COMPLETE, 3.0), (TrialState.COMPLETE, 8.0)]
    records = [Record(n, {}, {}, state, score) for n, (state, score) in enumerate(ends)]
    assert [trial.number for trial in best_trials(records)] == [2, 1]


def test_tables_show_the_best_trials_and_what_matters(study: Study, capsys: Lines) -> None:
    report_trials(study)
    assert not capsys.readouterr().out
    for number in range(12):
        trial = study.ask(number)
        study.complete(number, float(trial.values["gamma"]))
    report_trials(study)
    said = capsys.readouterr().out
    assert said.count("│") == 10 * 5
    assert "importance for good scores: gamma " in said


def test_the_bias_of_the_selection_is_shown(capsys: Lines) -> None:
    lucky, steady = (
        Record(number, {}, {}, TrialState.COMPLETE, score)
        for number, score in ((3, 90.0), (5, 80.0))
    )
    finalists = [
        Finalist(steady, summarize([75.0, 79.0]), 2), Finalist(lucky, summarize([60.0, 62.0]), 2)
    ]  # fmt: skip
    report_finalists(finalists, "final")
    won = "trial 5 wins with 77.0 on fresh seeds, after 80.0 in the search"
    said = capsys.readouterr().out
    assert said.count("too few seeds") == 2
    last = said.splitlines()[-1]
    assert last == f"{won}; trial 3, the best there with 90.0, has 61.0"
    report_finalists(finalists[:1], "final")
    assert capsys.readouterr().out.splitlines()[-1] == won
    report_finalists([Finalist(steady, summarize([76.0, 77.0, 78.0, 79.0, 75.0]), 5)], "final")
    assert "[75.0, 79.0]" in capsys.readouterr().out
