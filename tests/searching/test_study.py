from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest

from dqn_cli.searching.space import Choice, Decimal, Space, Whole
from dqn_cli.searching.study import ENOUGH, Record, Sampler, SearchError, Study, storage_named

SPACE = Space(
    {
        "lr": Decimal(1e-5, 1e-1, log=True),
        "share": Decimal(0.0, 1.0, step=0.25),
        "n": Whole(1, 9, step=2),
        "every": Whole(1, 1_000, log=True),
        "widths": Choice(("[8]", "[64,64]")),
    }
)
Open = Callable[..., Study]


@pytest.fixture
def reopened(tmp_path: Path) -> Open:
    def open_study(plan: dict[str, Any] | None = None, sampler: Sampler = Sampler.tpe) -> Study:
        return Study(tmp_path / "search.db", SPACE, sampler, plan or {"seeds": 3})

    return open_study


def score(trial: Record) -> float:
    return float(trial.values["share"]) - float(trial.values["n"])


def run(study: Study, numbers: range) -> list[dict[str, Any]]:
    suggested = []
    for number in numbers:
        trial = study.ask(number)
        suggested.append(trial.values)
        study.report(number, 100, score(trial))
        study.complete(number, score(trial))
    return suggested


def test_suggestions_are_in_the_space(reopened: Open) -> None:
    for values in run(reopened(), range(14)):
        assert values.keys() == SPACE.domains.keys()
        assert 1e-5 <= values["lr"] <= 1e-1
        assert values["share"] in (0, 0.25, 0.5, 0.75, 1)
        assert values["n"] in (1, 3, 5, 7, 9)
        assert isinstance(values["every"], int)
        assert values["widths"] in ("[8]", "[64,64]")


@pytest.mark.parametrize("sampler", Sampler)
def test_a_study_that_goes_on_suggests_what_it_would_have(
    reopened: Open, tmp_path: Path, sampler: Sampler
) -> None:
    whole = Study(tmp_path / "whole.db", SPACE, sampler, {})
    expected = run(whole, range(16))
    found = list[dict[str, Any]]()
    for first in range(0, 16, 4):
        found += run(reopened(None, sampler), range(first, first + 4))
    assert found == expected
    assert len({values["lr"] for values in found}) == 16


def test_trials_of_a_batch_get_other_values_though_none_has_a_score(reopened: Open) -> None:
    study = reopened()
    assert len({study.ask(number).values["lr"] for number in range(20)}) == 20


def test_a_trial_that_was_killed_in_its_suggestions_gets_the_same_ones(
    reopened: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Study(tmp_path / "whole.db", SPACE, Sampler.tpe, {}).ask(0).values
    suggest = optuna.trial.Trial.suggest_int

    def killed(trial: Any, key: str, *args: Any, **kwargs: Any) -> int:
        if key == "every":
            raise KeyboardInterrupt
        return suggest(trial, key, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(optuna.trial.Trial, "suggest_int", killed)
        with pytest.raises(KeyboardInterrupt):
            reopened().ask(0)
    assert reopened().records() == []
    assert reopened().ask(0).values == expected


def test_scores_and_ends_are_remembered(reopened: Open) -> None:
    study = reopened()
    for number in range(4):
        study.ask(number)
        study.report(number, 100, float(number))
    study.report(1, 100, 77.0)  # a search that goes on may judge again
    study.complete(1, 5.0)
    study.prune(2)
    study.fail(3)
    records = reopened().records()
    assert [trial.scores for trial in records] == [{100: float(number)} for number in range(4)]
    assert [trial.state.name for trial in records] == ["RUNNING", "COMPLETE", "PRUNED", "FAIL"]
    assert [trial.score for trial in records] == [None, 5.0, None, None]
    assert [trial.is_running for trial in records] == [True, False, False, False]
    assert [trial.is_complete for trial in records] == [False, True, False, False]


def test_another_plan_is_refused(reopened: Open) -> None:
    reopened({"seeds": 3, "rungs": [0.1]})
    reopened({"rungs": [0.1], "seeds": 3})
    with pytest.raises(SearchError, match=r"a search with seeds=3, not 4: type it as it was"):
        reopened({"seeds": 4, "rungs": [0.1]})
    with pytest.raises(SearchError, match=r"batch=None, not 8"):
        reopened({"seeds": 3, "rungs": [0.1], "batch": 8})


def test_importances_need_trials(reopened: Open) -> None:
    study = reopened()
    run(study, range(ENOUGH - 1))
    assert study.importances() == {}
    run(study, range(ENOUGH - 1, 30))
    found = study.importances()
    assert found.keys() == SPACE.domains.keys()
    assert max(found, key=lambda key: found[key]) == "n"


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    file = tmp_path / "search.db"
    file.write_bytes(b"no database" * 500)
    with (
        pytest.raises(SearchError, match=r"search\.db can't be used: .*not a database; if it is"),
        storage_named(file),
    ):
        Study(file, SPACE, Sampler.tpe, {})


def test_a_file_that_can_not_be_opened_is_named(tmp_path: Path) -> None:
    with (
        pytest.raises(SearchError, match=r"unable to open database file"),
        storage_named(tmp_path),
    ):
        Study(tmp_path, SPACE, Sampler.tpe, {})
