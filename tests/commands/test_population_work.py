from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from dqn_cli.commands import population_work
from dqn_cli.commands.population_work import (
    Parcel,
    group_title,
    unfinished_groups,
    wait_until_free,
)
from dqn_cli.runs.job import Job
from dqn_cli.runs.locks import LOCK_FILE, lock_runs
from dqn_cli.runs.manifest import write_manifests
from dqn_cli.runs.result import read_result, write_unstarted_result
from dqn_cli.storage import load_checkpoint
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
SMALL = (
    "steps=60", "learning_starts=20", "train_every=4", "updates_per_train=1", "eval.every=null",
    "network.widths=[4]", "replay.batch_size=8", "compile=false",
)  # fmt: skip


def job(number: int) -> Job:
    """A job that nothing trains."""
    return Job(None, Path(), [], number)  # type: ignore[arg-type]


def test_a_title_names_the_jobs() -> None:
    alone, four = [job(0)], [job(number) for number in range(1, 5)]
    assert group_title(alone) == "job 0"
    assert group_title(four) == "jobs 1-4"
    assert group_title([job(0), job(2), job(3)]) == "jobs 0, 2-3"


@pytest.fixture
def own_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Takes back the variable that a parcel sets for its process."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def begun(settings_of: Compose, sweep: str, members: int = 2) -> list[Job]:
    """Jobs with manifests, as a launcher leaves them."""
    jobs = [
        Job(replace(settings_of(*SMALL), seed=seed), Path(sweep) / str(seed), [], seed)
        for seed in range(members)
    ]
    for each in jobs:
        (each.folder / LOCK_FILE).parent.mkdir(parents=True)
        (each.folder / LOCK_FILE).touch()
    write_manifests(jobs)
    return jobs


def parameters(each: Job) -> torch.Tensor:
    found: torch.Tensor = load_checkpoint(each.folder / "checkpoints" / "last")["parameters"]
    return found


def test_a_parcel_trains_a_group_and_again_only_what_is_left(
    settings_of: Compose, in_folder: Path, own_threads: None
) -> None:
    jobs, halves = begun(settings_of, "whole"), begun(settings_of, "halves")
    parcel = pickle.loads(pickle.dumps(Parcel.pack(jobs, threads=1)))
    os.chdir("/")
    assert parcel.train() == 0
    assert [result and result["members"] for result in map(read_result, folders(jobs))] == [2, 2]
    before = [(folder / "result.json").stat().st_mtime_ns for folder in folders(jobs)]
    assert parcel.train() == 0
    assert before == [(folder / "result.json").stat().st_mtime_ns for folder in folders(jobs)]

    pause = replace(halves[0].settings.stop, step=30)
    paused = [each._replace(settings=replace(each.settings, stop=pause)) for each in halves]
    assert Parcel.pack(paused, threads=1).train() == 0  # as if it had been lost then
    assert Parcel.pack(halves, threads=1).train() == 0
    for one, other in zip(jobs, halves, strict=True):
        assert torch.equal(parameters(one), parameters(other))


def folders(jobs: list[Job]) -> list[Path]:
    return [each.folder for each in jobs]


def test_a_job_that_failed_stays_failed_when_its_group_goes_on(
    settings_of: Compose, in_folder: Path
) -> None:
    jobs = begun(settings_of, "sweep", 3)
    write_unstarted_result(jobs[1].settings, [], jobs[1].folder, "it broke")
    assert [[each.number for each in group] for group in unfinished_groups(jobs, [])] == [[0, 2]]
    again = Parcel.pack(jobs, threads=1).failed
    assert again == [1]
    assert [[each.number for each in group] for group in unfinished_groups(jobs, again)] == [
        [0, 1, 2]
    ]


def test_runs_of_a_lost_machine_are_waited_for(
    settings_of: Compose, in_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs, slept = begun(settings_of, "sweep", 1), list[float]()
    with lock_runs(folders(jobs)):
        monkeypatch.setattr(population_work, "LOST_SECONDS", 0.05)
        monkeypatch.setattr(population_work, "LOCK_SECONDS", 0.02)
        wait_until_free(folders(jobs))  # at most so long
        monkeypatch.setattr(population_work.time, "sleep", slept.append)
    wait_until_free(folders(jobs))
    assert slept == []
