"""Hyperparameter search: the loop behind `hydra/sweeper=search`."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.types import HydraContext
from omegaconf import DictConfig

from dqn_cli.commands.search_jobs import Jobs, TrialRun
from dqn_cli.commands.search_options import Pruner, SearchOptions, read_options
from dqn_cli.commands.search_report import (
    Progress,
    best_trials,
    report_finalists,
    report_trials,
)
from dqn_cli.commands.search_settings import (
    check_keys,
    composed_settings,
    keep_plugins,
    write_tuned,
)
from dqn_cli.config.current_command import Sweep
from dqn_cli.config.run_folders import STUDY_FILE
from dqn_cli.config.search_words import read_space
from dqn_cli.config.validation import ConfigError
from dqn_cli.runs.outcomes import TrainingFailure
from dqn_cli.searching.finalists import Finalist, rank_finalists
from dqn_cli.searching.halving import rung_steps, survivors
from dqn_cli.searching.study import Study, storage_named
from dqn_cli.searching.trial_scores import Objective, Standing, standing, trial_score


def search(
    context: HydraContext,
    config: DictConfig,
    launcher: Any,
    values: Mapping[str, Any],
    params: Mapping[str, Any],
    typed: Sequence[str],
) -> None:
    """Search for hyperparameters, or go on with the search that the folder holds.

    Args:
        context: Hydra's loader of configurations.
        config: Configuration of the sweep.
        launcher: Hydra's launcher.
        values: Keys of `hydra.sweeper`, without `params`.
        params: Search space, as it is typed.
        typed: The words of the command.

    Raises:
        ConfigError: A word is not valid.
        SearchError: The search in the folder can't go on.
        TrainingFailure: No run of the first trials succeeded, or nothing can win.
        SystemExit: After a signal.
    """
    options, space = read_options(values), read_space(params, typed)
    keep_plugins(config)
    check_keys(context, config, space)
    settings = composed_settings(context, config, space.words)
    if settings.eval.every is None:
        raise ConfigError("a search goes by evaluations, and eval.every is null: set eval.every=N")
    if not settings.steps:
        raise ConfigError("a search goes by steps, and steps=0 has none: set steps=N")
    rungs: list[int] = []
    if options.pruner is Pruner.halving:
        starts = settings.learning_starts
        rungs = rung_steps(options.rungs, settings.steps, settings.eval.every, starts)
        if not rungs:
            print(
                "search: no trial stops early, because there is no evaluation between"
                f" learning_starts={starts} and steps={settings.steps}: set a smaller eval.every"
            )
    sweep = Sweep.folder
    assert sweep is not None
    plan = {"words": space.words, "space": {key: str(x) for key, x in space.domains.items()}}
    file = sweep / STUDY_FILE
    with storage_named(file):
        study = Study(file, space, options.sampler, plan | options.plan())
        jobs = Jobs(launcher, sweep, space.words)
        Search(study, jobs, options, rungs, settings.steps).run()
        finalists = evaluate_finalists(study, jobs, options)
        report_trials(study)
    if finalists:
        report_finalists(finalists, options.objective.name)
        write_tuned(context, config, space.words, finalists[0], sweep, options)


class Search:
    """The trials of a search, batch by batch."""

    def __init__(
        self, study: Study, jobs: Jobs, options: SearchOptions, rungs: Sequence[int], steps: int
    ) -> None:
        """Prepare trials of a number of steps, which pause at `rungs`."""
        self._study, self._jobs, self._options = study, jobs, options
        self._rungs, self._steps = rungs, steps
        self._progress = Progress(study, options.trials)

    def run(self) -> None:
        """Train all trials that have not ended."""
        options = self._options
        for first in range(0, options.trials, options.batch):
            numbers = range(first, min(first + options.batch, options.trials))
            asked = [self._study.ask(number) for number in numbers]
            if running := [trial.number for trial in asked if trial.is_running]:
                self._run_batch(running)
                self._progress.print()
            if not first and not any(trial.scores for trial in self._study.records()):
                raise TrainingFailure(
                    f"every run of the first {len(numbers)} trials failed, and the lines above say"
                    " why"
                )

    def _run_batch(self, numbers: Sequence[int]) -> None:
        """Train trials up to each rung and to the end; the worst stop at each rung."""
        for rung in self._rungs:
            if not (numbers := self._train(numbers, rung)):
                return
            scores = {
                trial.number: trial.scores[rung]
                for trial in self._study.records()
                if rung in trial.scores
            }
            kept = survivors(numbers, scores, self._options.reduction)
            for number in numbers:
                if number not in kept:
                    self._study.prune(number)
            self._progress.print_rung(rung, len(kept), len(numbers))
            numbers = kept
        for number in self._train(numbers, self._steps):
            self._study.complete(number, self._study.record(number).scores[self._steps])

    def _train(self, numbers: Sequence[int], step: int) -> list[int]:
        """Train trials up to a step, and return those that got there."""
        due = [number for number in numbers if step not in self._study.record(number).scores]
        runs = {number: self._runs(number, step) for number in due}
        pause = step if step < self._steps else None
        self._jobs.train([run for group in runs.values() for run in group], pause)
        failed = []
        for number, group in runs.items():
            score = self._score(group, pause)
            if score is None:
                self._study.fail(number)
                failed.append(number)
            else:
                self._study.report(number, step, score)
        return [number for number in numbers if number not in failed]

    def _score(self, runs: Sequence[TrialRun], pause: int | None) -> float | None:
        """Return the score of a trial's runs, or None if one of them failed."""
        folders = [run.folder for run in runs]
        if any(standing(folder, pause) is not Standing.done for folder in folders):
            return None
        # The curve so far tells more about the end than one evaluation early in a run.
        objective = self._options.objective if pause is None else Objective.mean
        score = trial_score(folders, objective)
        return score if math.isfinite(score) else None

    def _runs(self, number: int, step: int) -> list[TrialRun]:
        """Return the runs of a trial up to a step; each rung before it added some."""
        seeds, extra = self._options.seeds, self._options.extra_seeds
        passed = sum(rung < step for rung in self._rungs)
        most = seeds + extra * len(self._rungs)
        return self._jobs.runs_of(self._study.record(number), seeds + extra * passed, most)


def evaluate_finalists(study: Study, jobs: Jobs, options: SearchOptions) -> list[Finalist]:
    """Train the best trials again with fresh seeds, and return them, the best first.

    Raises:
        TrainingFailure: No trial, or none of them, was trained to the end.
    """
    complete = best_trials(study.records())
    if not complete:
        raise TrainingFailure(
            "no trial has a score to win with: all that were not stopped early failed"
        )
    chosen = complete[: options.finalists]
    runs = {trial.number: jobs.fresh_runs_of(trial, options.fresh_seeds) for trial in chosen}
    if chosen:
        best = "trial" if len(chosen) == 1 else f"{len(chosen)} trials"
        print(f"the best {best} again, on {options.fresh_seeds} fresh seeds")
    jobs.train([run for group in runs.values() for run in group], None)
    finalists = rank_finalists(
        [(trial, _done(runs[trial.number])) for trial in chosen], options.objective
    )
    if chosen and not finalists:
        raise TrainingFailure("every run of the best trials on fresh seeds failed")
    return finalists


def _done(runs: Sequence[TrialRun]) -> list[Path]:
    return [run.folder for run in runs if standing(run.folder, None) is Standing.done]
