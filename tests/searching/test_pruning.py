from __future__ import annotations

from pathlib import Path

from made_up_searches import LENGTH, RUNG, SEEDS, write_search

from dqn_cli.searching.pruning import Rung, pruning_of


def test_steps_of_pruned_trials_are_saved(tmp_path: Path) -> None:
    trials = write_search(tmp_path / "search.db", complete=2, pruned=3, failed=1).records()
    found = pruning_of(trials, SEEDS)
    assert found.rungs == [Rung(RUNG, compared=5, ended=3)]
    assert found.trials == 5
    assert found.steps == SEEDS * (2 * LENGTH + 3 * RUNG)
    assert found.unpruned == SEEDS * 5 * LENGTH


def test_trials_that_go_on_are_judged_and_have_not_ended(tmp_path: Path) -> None:
    study = write_search(tmp_path / "search.db", complete=1)
    study.report(study.ask(1).number, RUNG, 1.0)
    found = pruning_of(study.records(), SEEDS)
    assert found.rungs == [Rung(RUNG, compared=2, ended=0)]
    assert found.trials == 1


def test_before_a_trial_gets_to_its_end_its_length_is_not_known(tmp_path: Path) -> None:
    trials = write_search(tmp_path / "search.db", complete=0, pruned=2).records()
    assert pruning_of(trials, SEEDS).unpruned is None
    assert pruning_of([], SEEDS).rungs == []


def test_runs_that_trials_get_later_are_counted(tmp_path: Path) -> None:
    trials = write_search(tmp_path / "search.db", complete=2, pruned=3).records()
    found = pruning_of(trials, SEEDS, extra_seeds=2)
    assert found.steps == (SEEDS + 2) * 2 * LENGTH + SEEDS * 3 * RUNG
    assert found.unpruned == (SEEDS + 2) * 5 * LENGTH
