"""A search as its file holds it: space, trials and importances, read without changing the file."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from dqn_cli.searching.space import Choice, Decimal, Domain, Whole
from dqn_cli.searching.study import (
    NAME,
    PLAN,
    Record,
    SearchError,
    importances,
    record_of,
    storage_named,
)


class StoredSearch(NamedTuple):
    """What a search has tried so far."""

    domains: dict[str, Domain]  # of each hyperparameter
    trials: list[Record]
    importances: dict[str, float]  # empty until enough trials were trained to the end
    seeds: int  # runs of a trial
    extra_seeds: int  # more of them at each rung that a trial passes


def read_search(file: Path) -> StoredSearch:
    """Read the study of a search, which may go on meanwhile.

    Raises:
        SearchError: The file has no study, or can't be read.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    url = f"sqlite:///file:{quote(str(file.absolute()))}?mode=ro&uri=true"
    with storage_named(file):
        try:
            study = optuna.load_study(study_name=NAME, storage=url)
        except KeyError as error:
            raise SearchError(f"{file} has no study named {NAME}") from error
        trials = study.get_trials(deepcopy=False)
        domains = {key: _domain(d) for trial in trials for key, d in trial.distributions.items()}
        plan = study.user_attrs.get(PLAN, {})
        return StoredSearch(domains, [record_of(trial) for trial in trials], importances(study),
                            int(plan.get("seeds", 1)), int(plan.get("extra_seeds", 0)))  # fmt: skip


def _domain(distribution: BaseDistribution) -> Domain:
    match distribution:
        case FloatDistribution(low=low, high=high, log=log, step=step):
            return Decimal(low, high, log, step)
        case IntDistribution(low=low, high=high, log=log, step=step):
            return Whole(low, high, log, step)
        case CategoricalDistribution(choices=choices):
            return Choice(tuple(map(str, choices)))
    raise SearchError(f"{type(distribution).__name__} is no domain of a search")
