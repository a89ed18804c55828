from __future__ import annotations

import pytest
from omegaconf import OmegaConf
from optuna.trial import TrialState

from dqn_cli.commands.search_options import Pruner, SearchOptions
from dqn_cli.commands.search_settings import header, keep_plugins
from dqn_cli.config.current_command import Command
from dqn_cli.evaluation.statistics import summarize
from dqn_cli.searching.finalists import Finalist
from dqn_cli.searching.study import Record, Sampler
from dqn_cli.searching.trial_scores import Objective

OPTIONS = SearchOptions(40, 3, 0, 8, Objective.final, Sampler.tpe, Pruner.halving, [0.1], 3, 3, 10)


def test_the_header_says_what_found_the_settings() -> None:
    trial = Record(7, {}, {}, TrialState.COMPLETE, 90.0)
    with Command.begin(["-m", "+search=dqn", "gamma=interval(0,1)"]):
        lines = header(Finalist(trial, summarize([70.0] * 5), 5), OPTIONS)
        of_two = header(Finalist(trial, summarize([70.0, 90.0]), 2), OPTIONS)
    text = "\n".join(lines)
    assert "a search of 40 trials with 3 seeds each." in text
    assert "trial 7 on 5 fresh seeds: 70.0 [70.0, 70.0], worst 70.0; in the search 90.0." in text
    # The interval of two runs would be as wide as all scores that are possible.
    assert "trial 7 on 2 fresh seeds: 80.0, worst 70.0; in the search 90.0." in "\n".join(of_two)
    assert "Command: dqn-train -m +search=dqn 'gamma=interval(0,1)'" in text
    assert "Commit " in text
    assert "optuna " in text


def test_the_header_counts_seeds_that_trials_got_later() -> None:
    trial = Record(7, {}, {}, TrialState.COMPLETE, 90.0)
    with Command.begin(["-m", "+search=dqn"]):
        lines = header(Finalist(trial, summarize([70.0] * 5), 5), OPTIONS._replace(extra_seeds=2))
    assert "with 3 seeds each, and 2 more at each rung." in "\n".join(lines)


@pytest.mark.parametrize("typed", [[], ["hydra/launcher=joblib"]])
def test_jobs_have_the_sweeper_and_the_launcher_of_the_search(typed: list[str]) -> None:
    choices = {"hydra/sweeper": "search", "hydra/launcher": "joblib"}
    overrides = [*typed, "hydra.sweeper.trials=3"]
    hydra = {"runtime": {"choices": choices}, "overrides": {"hydra": overrides}}
    config = OmegaConf.create({"hydra": hydra})
    keep_plugins(config)
    plugins = {"hydra/sweeper=search", "hydra/launcher=joblib", "hydra.sweeper.trials=3"}
    assert sorted(config.hydra.overrides.hydra) == sorted(plugins)
