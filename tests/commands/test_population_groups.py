from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from made_up_jobs import job

from dqn_cli.commands import population_processes
from dqn_cli.commands.population_groups import print_groups, report_death, train_groups
from dqn_cli.commands.population_processes import Processes, ending_of
from dqn_cli.runs.job import Job
from dqn_cli.runs.locks import LOCK_FILE, lock_runs
from dqn_cli.runs.manifest import write_manifests
from dqn_cli.runs.result import read_result
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
Work = Callable[[Sequence[Job], Sequence[str]], None]
Lines = pytest.CaptureFixture[str]


def test_groups_are_printed_with_the_overrides_that_differ(capsys: Lines) -> None:
    first = [job(n, "steps=9", "agent=dqn", f"seed={n}") for n in (0, 2)]
    second = [job(n, "steps=9", "agent=per", f"seed={n}") for n in (1, 3)]
    print_groups([first, second, [job(4, "steps=9", "agent=per", "seed=4")]], Processes(2))
    head, *lines = capsys.readouterr().out.splitlines()
    assert all(word in head for word in ("5 jobs", "3 groups", "2 of"))
    assert [line.split()[-1] for line in lines] == ["agent=dqn", "agent=per", "seed=4"]
    assert lines[0].strip().startswith("jobs 0, 2: 2 side by side")
    assert lines[1].strip().startswith("jobs 1, 3: 2 side by side")
    assert lines[2].strip().startswith("job 4: alone")
    assert not any("steps=9" in line for line in lines)


def test_one_group_is_printed_without_common_overrides(capsys: Lines) -> None:
    print_groups([[job(0, "agent=dqn", "seed=0"), job(1, "agent=dqn", "seed=1")]], Processes(8))
    head, line = capsys.readouterr().out.splitlines()
    assert "1 of 1" in head
    assert line == "  jobs 0-1: 2 side by side"


def test_without_jobs_there_is_nothing_to_do(capsys: Lines) -> None:
    print_groups([], Processes(2))
    assert "0 jobs" in capsys.readouterr().out
    assert train_groups([], Processes(2)) == 0


SMALL = (
    "steps=60", "learning_starts=20", "train_every=4", "updates_per_train=1", "eval.episodes=1",
    "network.widths=[4]", "replay.batch_size=8", "compile=false",
)  # fmt: skip


def trainable(settings: Settings, folder: Path, members: int = 2) -> list[Job]:
    jobs = [
        Job(replace(settings, seed=seed), folder / f"job{seed}", [], seed)
        for seed in range(members)
    ]
    for each in jobs:
        each.folder.mkdir()
    return jobs


def test_one_group_is_trained_in_this_process(
    settings_of: Compose, in_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Lines
) -> None:
    monkeypatch.setattr(population_processes, "start_process", None)
    jobs = trainable(settings_of(*SMALL), in_folder)
    assert train_groups([jobs], Processes(4)) == 0
    for each in jobs:
        result = json.loads((each.folder / "result.json").read_text())
        assert (result["status"], result["members"]) == ("finished", 2)
        assert result["seed"] == each.number
    assert "jobs 0-1: 2 of 2 finished in " in capsys.readouterr().out.splitlines()[-1]


def test_a_group_that_can_not_be_built_is_reported_and_is_no_signal(
    settings_of: Compose, in_folder: Path, capsys: Lines
) -> None:
    jobs = trainable(settings_of(*SMALL, "+env.kwargs.gravityy=1"), in_folder)
    assert train_groups([jobs], Processes(1)) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("jobs 0-1 failed: env=CartPole-v1: ")


def test_a_group_that_another_process_trains_is_left_to_it(
    settings_of: Compose, in_folder: Path, capsys: Lines
) -> None:
    jobs = trainable(settings_of(*SMALL), in_folder)
    for each in jobs:
        (each.folder / LOCK_FILE).parent.mkdir()
        (each.folder / LOCK_FILE).touch()
    with lock_runs([jobs[1].folder]):
        assert train_groups([jobs], Processes(1)) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"jobs 0-1: {jobs[1].folder} is being trained by another process")
    assert not any((each.folder / "result.json").exists() for each in jobs)


@pytest.mark.parametrize(
    ("exit_code", "end", "status"),
    [
        (-11, "was killed by SIGSEGV", "failed"),
        (7, "ended with exit code 7", "failed"),
        (0, "ended with exit code 0", "failed"),
        (-9, "was killed by SIGKILL", None),
    ],
)
def test_a_process_that_dies_is_told_and_has_a_result_unless_it_was_killed(
    settings_of: Compose,
    tmp_path: Path,
    capsys: Lines,
    exit_code: int,
    end: str,
    status: str | None,
) -> None:
    jobs = [Job(settings_of(), tmp_path / str(number), [], number) for number in range(2)]
    for each in jobs:
        (each.folder / ".hydra").mkdir(parents=True)
    write_manifests(jobs)
    (jobs[0].folder / "result.json").write_text("{}")
    report_death(jobs, ending_of(exit_code))
    assert capsys.readouterr().err.startswith(f"job 1 failed: its process {end}; ")
    assert (jobs[0].folder / "result.json").read_text() == "{}"
    result = read_result(jobs[1].folder)
    assert (result and (result["status"], result["error"])) == (
        status and (status, f"its process {end}")
    )
