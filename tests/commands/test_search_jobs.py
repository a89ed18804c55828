from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path

import pytest
from optuna.trial import TrialState

from dqn_cli.commands.search_jobs import FIRST_FRESH_SEED, Jobs, TrialRun, trial_words
from dqn_cli.config.current_command import Sweep
from dqn_cli.runs.launched_jobs import LauncherShutdown
from dqn_cli.runs.outcomes import Interrupted
from dqn_cli.searching.study import Record

TRIAL = Record(2, {"optimizer.lr": 0.00123456, "n": 3}, {}, TrialState.RUNNING, None)


class Launcher:
    """Remembers what it is to launch."""

    def __init__(self) -> None:
        self.launched: list[tuple[list[str], ...]] = []
        self.first: list[int] = []

    def launch(self, job_overrides: Sequence[list[str]], initial_job_idx: int) -> None:
        self.launched.append(tuple(job_overrides))
        self.first.append(initial_job_idx)


def finish(run: TrialRun, stopped: str | None, steps: int) -> None:
    run.folder.mkdir(parents=True)
    result = {"status": "finished", "steps": steps, "stopped": stopped, "overrides": []}
    result |= {"seconds": {"total": 1}, "best": None}
    (run.folder / "result.json").write_text(json.dumps(result))


@pytest.fixture
def launcher() -> Launcher:
    return Launcher()


@pytest.fixture
def jobs(tmp_path: Path, launcher: Launcher) -> Jobs:
    return Jobs(launcher, tmp_path / "sweep", ["env=CartPole-v1"])


def test_each_run_of_a_trial_has_a_number_a_seed_and_a_folder(jobs: Jobs, tmp_path: Path) -> None:
    first, second = jobs.runs_of(TRIAL, 2)
    assert (first.number, second.number) == (4, 5)
    assert second.words == ["env=CartPole-v1", "optimizer.lr=0.001235", "n=3", "seed=1"]
    assert second.folder == tmp_path / "sweep" / "5_optimizer.lr-0.001235_n-3_seed-1"
    assert jobs.runs_of(TRIAL._replace(number=3), 2)[0].number == 6
    first, second = jobs.runs_of(TRIAL, 2, most=5)  # which leaves numbers for three more
    assert (first.number, second.number) == (10, 11)
    assert trial_words(TRIAL) == ["optimizer.lr=0.001235", "n=3"]


def test_fresh_runs_have_other_seeds_and_folders(jobs: Jobs, tmp_path: Path) -> None:
    runs = jobs.fresh_runs_of(TRIAL, 3)
    seeds = [f"seed={FIRST_FRESH_SEED + index}" for index in range(3)]
    assert [run.words[-1] for run in runs] == seeds
    assert {run.folder.parent for run in runs} == {tmp_path / "sweep" / "fresh"}
    assert len({run.number for run in runs}) == 3


def test_only_runs_that_are_not_there_yet_are_launched(jobs: Jobs, launcher: Launcher) -> None:
    runs = jobs.runs_of(TRIAL, 3)
    finish(runs[0], "stop.step=100 reached", 100)
    finish(runs[1], "stop.step=200 reached", 200)
    jobs.train(runs, 200)
    ((first, last),) = launcher.launched
    assert launcher.first == [6]
    name = runs[0].folder.name
    assert first == [*runs[0].words, "stop.step=200", f"hydra.sweep.subdir='{name}'"]
    assert last[:-2] == runs[2].words
    jobs.train(runs[1:2], 200)
    assert len(launcher.launched) == 1
    jobs.train(runs[1:2], None)
    assert launcher.launched[1][0][:-1] == runs[1].words  # without a pause


def test_a_signal_ends_a_search_though_the_launcher_returns(
    jobs: Jobs, launcher: Launcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, shutdown = jobs.runs_of(TRIAL, 1), LauncherShutdown(tmp_path)
    monkeypatch.setattr(Sweep, "shutdown", shutdown)
    jobs.train(runs, 200)
    shutdown.signal = signal.SIGTERM
    with pytest.raises(Interrupted) as ended:
        jobs.train(runs, 200)
    assert ended.value.exit_code == 128 + signal.SIGTERM
    assert len(launcher.launched) == 2
