"""Jobs of a search: the runs of its trials, in folders of their own."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from dqn_cli.config.current_command import Sweep
from dqn_cli.config.run_folders import FRESH, job_folder
from dqn_cli.runs.early_stopping import PAUSE
from dqn_cli.runs.outcomes import Interrupted
from dqn_cli.searching.space import typed_word
from dqn_cli.searching.study import Record
from dqn_cli.searching.trial_scores import Standing, standing

FIRST_FRESH_SEED = 1_000


class TrialRun(NamedTuple):
    """One run of a trial."""

    number: int
    folder: Path
    words: list[str]


class Jobs:
    """The runs of a search, which a launcher of Hydra trains."""

    def __init__(self, launcher: Any, sweep: Path, words: Sequence[str]) -> None:
        """Prepare runs in the folder of a search, with these words in common."""
        self._launcher, self._sweep, self._words = launcher, sweep, list(words)

    def runs_of(self, trial: Record, seeds: int, most: int | None = None) -> list[TrialRun]:
        """Return the runs of a trial that has so many seeds, and later at most so many."""
        first = trial.number * (most or seeds)
        return [self._run(trial, seed, first + seed, "") for seed in range(seeds)]

    def fresh_runs_of(self, trial: Record, seeds: int) -> list[TrialRun]:
        """Return runs of a trial with seeds that the search has not seen."""
        return [
            self._run(trial, FIRST_FRESH_SEED + index, trial.number * seeds + index, FRESH)
            for index in range(seeds)
        ]

    def train(self, runs: Sequence[TrialRun], step: int | None) -> None:
        """Train runs up to a step, or to their end; those that are there already are left alone.

        Raises:
            Interrupted: A signal ended them.
        """
        pause = [] if step is None else [f"{PAUSE}{step}"]
        due = [run for run in runs if standing(run.folder, step) is Standing.open]
        if due:
            self._launcher.launch(
                [[*run.words, *pause, self._subfolder(run)] for run in due],
                initial_job_idx=due[0].number,
            )
            # Launchers of other processes return as if all jobs had had their turn.
            if Sweep.shutdown and Sweep.shutdown.requested:
                raise Interrupted(Sweep.shutdown.exit_code)

    def _run(self, trial: Record, seed: int, number: int, part: str) -> TrialRun:
        own = [*trial_words(trial), f"seed={seed}"]
        folder = self._sweep / part / job_folder(number, own)
        return TrialRun(number, folder, [*self._words, *own])

    def _subfolder(self, run: TrialRun) -> str:
        return f"hydra.sweep.subdir='{run.folder.relative_to(self._sweep).as_posix()}'"


def trial_words(trial: Record) -> list[str]:
    """Return the hyperparameters of a trial as they are typed."""
    return [typed_word(key, value) for key, value in trial.values.items()]
