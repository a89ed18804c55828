"""The study of a search: an Optuna study in a SQLite file, which survives a kill at any moment."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import Enum
from pathlib import Path
from typing import Any, NamedTuple

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState
from sqlalchemy.exc import SQLAlchemyError

from dqn_cli.searching.space import Choice, Decimal, Space, Value, Whole

NAME = "search"  # of the study in its file
PLAN = "plan"  # what a search must keep when it goes on
ENOUGH = 10  # trials to tell which hyperparameters matter
Sampler = Enum("Sampler", ["tpe", "random"])


class SearchError(ValueError):
    """A search that can't go on as it was typed; the message says what would be right."""


@contextmanager
def storage_named(file: Path) -> Iterator[None]:
    """Turn errors of a study's file within the context into one that names it.

    Raises:
        SearchError: The file is damaged, can't be opened, or can't be written.
    """
    try:
        yield
    except (SQLAlchemyError, optuna.exceptions.StorageInternalError) as error:
        cause = str(error.__cause__ or error).splitlines()[0]
        raise SearchError(
            f"{file} can't be used: {cause}; if it is damaged, search in another folder"
        ) from error


class Record(NamedTuple):
    """A trial: its hyperparameters, its scores at steps, and how it ended."""

    number: int
    values: dict[str, Value]
    scores: dict[int, float]  # by step
    state: TrialState
    score: float | None  # at the end

    @property
    def is_running(self) -> bool:
        """True if it has not ended."""
        return self.state is TrialState.RUNNING

    @property
    def is_complete(self) -> bool:
        """True if it was trained to the end."""
        return self.state is TrialState.COMPLETE


class Study:
    """Suggests hyperparameters and remembers scores.

    The sampler's seed comes from the number of the trial. So a search that goes on suggests what it
    would have suggested, and never the same values again.
    """

    def __init__(self, file: Path, space: Space, sampler: Sampler, plan: Mapping[str, Any]) -> None:
        """Open the study in a file, or begin one.

        Raises:
            SearchError: The file has a study with another plan.
        """
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
        self._space, self._sampler = space, sampler
        storage = f"sqlite:///{file.absolute()}"
        self._study = optuna.create_study(
            storage=storage, study_name=NAME, direction="maximize", load_if_exists=True
        )
        self._check_plan(plan)

    def _check_plan(self, plan: Mapping[str, Any]) -> None:
        plain = json.loads(json.dumps(plan))
        begun = self._study.user_attrs.setdefault(PLAN, plain)
        for key in [*begun, *plain]:
            if begun.get(key) != plain.get(key):
                raise SearchError(
                    f"this folder has a search with {key}={begun.get(key)}, not {plain.get(key)}:"
                    " type it as it was, or choose another folder"
                )
        self._study.set_user_attr(PLAN, plain)

    def ask(self, number: int) -> Record:
        """Return the trial of this number; a new one gets its values."""
        trials = self._study.get_trials(deepcopy=False)
        if number >= len(trials):
            # A trial is stored with all its values at once, so that a kill leaves no part of it.
            draft = optuna.create_study(
                direction="maximize", sampler=_make_sampler(self._sampler, number)
            )
            draft.add_trials(trials)
            trial = draft.ask()
            self._suggest(trial)
            self._study.add_trial(
                optuna.create_trial(
                    state=TrialState.RUNNING,
                    params=trial.params,
                    distributions=trial.distributions,
                )
            )
        return self.record(number)

    def _suggest(self, trial: Trial) -> None:
        for key, domain in self._space.domains.items():
            match domain:
                case Decimal(low, high, log, step):
                    trial.suggest_float(key, low, high, log=log, step=step)
                case Whole(low, high, log, step):
                    trial.suggest_int(key, low, high, log=log, step=step)
                case Choice(words):
                    trial.suggest_categorical(key, words)

    def report(self, number: int, step: int, score: float) -> None:
        """Remember the score of a trial at a step."""
        if step not in self.record(number).scores:
            self._trial(number).report(score, step)

    def complete(self, number: int, score: float) -> None:
        """Remember the score of a trial at its end."""
        self._study.tell(self._trial(number), score)

    def prune(self, number: int) -> None:
        """Remember that a trial ended early."""
        self._study.tell(self._trial(number), state=TrialState.PRUNED)

    def fail(self, number: int) -> None:
        """Remember that a trial failed."""
        self._study.tell(self._trial(number), state=TrialState.FAIL)

    def record(self, number: int) -> Record:
        """Return the trial of this number."""
        return record_of(self._study.get_trials(deepcopy=False)[number])

    def records(self) -> list[Record]:
        """Return all trials so far."""
        return [record_of(trial) for trial in self._study.get_trials(deepcopy=False)]

    def importances(self) -> dict[str, float]:
        """Return the share of each hyperparameter in good scores, see `importances`."""
        return importances(self._study)

    def _trial(self, number: int) -> Trial:
        trial = self._study.get_trials(deepcopy=False)[number]
        return Trial(self._study, trial._trial_id)


def importances(study: optuna.Study) -> dict[str, float]:
    """Return the share of each hyperparameter in good scores (PED-ANOVA, Watanabe et al. 2023).

    It is empty as long as there are fewer than ENOUGH complete trials.
    """
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < ENOUGH:
        return {}
    evaluator = optuna.importance.PedAnovaImportanceEvaluator()
    return dict(optuna.importance.get_param_importances(study, evaluator=evaluator))


def _make_sampler(sampler: Sampler, number: int) -> optuna.samplers.BaseSampler:
    if sampler is Sampler.random:
        return optuna.samplers.RandomSampler(seed=number)
    return optuna.samplers.TPESampler(seed=number)


def record_of(trial: FrozenTrial) -> Record:
    """Return a stored trial as it is used here."""
    scores = {int(step): float(score) for step, score in trial.intermediate_values.items()}
    score = trial.values[0] if trial.state is TrialState.COMPLETE and trial.values else None
    return Record(trial.number, dict(trial.params), scores, trial.state, score)
