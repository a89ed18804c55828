from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dqn_cli.config.stored_settings import stored_settings
from dqn_cli.runs.job import Job
from dqn_cli.runs.manifest import (
    MANIFEST,
    can_resume,
    discard_unstarted,
    has_checkpoint,
    holds_run,
    is_unstarted,
    load_begun,
    load_state,
    note_failure,
    noted_failure,
    write_manifests,
)
from dqn_cli.runs.result import unstarted_result
from dqn_cli.runs.single_run import train_alone
from dqn_cli.storage import CheckpointError, write_json
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
SMALL = ("steps=60", "learning_starts=20", "eval.episodes=1", "network.widths=[4]")


@pytest.fixture
def jobs(settings_of: Compose, tmp_path: Path) -> list[Job]:
    """Two that Hydra has made folders for."""
    folders = [tmp_path / name for name in ("first", "second")]
    for folder in folders:
        (folder / MANIFEST).parent.mkdir(parents=True)
    return [
        Job(settings_of(*SMALL, f"seed={seed}"), folder, []) for seed, folder in enumerate(folders)
    ]


def test_a_manifest_holds_the_settings_and_the_group(jobs: list[Job]) -> None:
    write_manifests(jobs)
    for job in jobs:
        data = load_state(job.folder)
        assert stored_settings(data["settings"]) == job.settings
        assert data["together"] == ["first", "second"]
        assert data["clock"] == (0, 0, 0)


@pytest.mark.parametrize(("word", "threads"), [("threads=auto", 1), ("threads=3", 3)])
def test_a_manifest_holds_the_threads_of_a_run_in_a_group(
    jobs: list[Job], settings_of: Compose, word: str, threads: int
) -> None:
    images = settings_of("network=nature", "env=MinAtar/Breakout-v1", word)
    write_manifests([jobs[0]._replace(settings=images)])
    assert load_state(jobs[0].folder)["threads"] == threads


def test_a_run_with_a_manifest_is_unstarted_until_it_trains(jobs: list[Job]) -> None:
    run = jobs[0].folder
    assert not can_resume(run)
    assert not is_unstarted(run)
    write_manifests(jobs[:1])
    assert can_resume(run)
    assert is_unstarted(run)
    train_alone(jobs[0])
    assert can_resume(run)
    assert not is_unstarted(run)


def test_a_checkpoint_takes_precedence_over_a_manifest(jobs: list[Job]) -> None:
    run = jobs[0].folder
    train_alone(jobs[0])
    assert (run / MANIFEST).is_file()
    assert has_checkpoint(run)
    assert load_state(run)["clock"][0] == 60


def test_no_manifest_is_written_for_a_resumed_run_or_without_a_hydra_folder(
    jobs: list[Job], tmp_path: Path
) -> None:
    write_manifests([jobs[0]._replace(resumes=True), jobs[1]._replace(folder=tmp_path)])
    assert not list(tmp_path.rglob(MANIFEST.name))


def test_a_folder_without_checkpoint_and_manifest_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoints/last yet"):
        load_state(tmp_path)


def test_a_manifest_tells_how_a_run_was_begun(jobs: list[Job]) -> None:
    train_alone(jobs[0])
    assert load_begun(jobs[0].folder)["clock"] == (0, 0, 0)
    (jobs[0].folder / MANIFEST).unlink()
    assert load_begun(jobs[0].folder)["clock"][0] == 60


def test_partial_files_of_a_killed_process_go(jobs: list[Job]) -> None:
    run = jobs[0].folder
    partial = [run / ".hydra" / ".plan.99.tmp", run / ".result.json.99.tmp"]
    for file in partial:
        file.write_text("")
    write_manifests(jobs[:1])
    assert not any(file.exists() for file in partial)


def failed(job: Job, steps: int) -> None:
    result = unstarted_result(job.settings, [], "failed", "broke") | {"steps": steps}
    write_json(job.folder / "result.json", result)


def test_a_run_is_worth_keeping_once_it_began(jobs: list[Job]) -> None:
    run = jobs[0].folder
    assert not holds_run(run)
    write_manifests(jobs[:1])
    assert holds_run(run)
    failed(jobs[0], 0)
    assert not holds_run(run)
    failed(jobs[0], 1)
    assert holds_run(run)
    (run / "result.json").write_text("damaged")
    assert holds_run(run)


def test_a_failure_without_settings_is_noted_until_the_job_begins(jobs: list[Job]) -> None:
    run = jobs[0].folder
    assert noted_failure(run) is None
    note_failure(run, "head=c51 needs more")
    assert noted_failure(run) == "head=c51 needs more"
    assert not holds_run(run)
    write_manifests(jobs[:1])
    assert noted_failure(run) is None
    note_failure(jobs[1].folder, "no room")
    discard_unstarted(jobs[1].folder)
    assert list(jobs[1].folder.iterdir()) == []
    note_failure(jobs[1].folder, "it was another's")
    assert list(jobs[1].folder.iterdir()) == []


def test_only_what_never_began_is_discarded(jobs: list[Job]) -> None:
    run = jobs[0].folder
    train_alone(jobs[0])
    before = {file: file.stat().st_mtime_ns for file in run.rglob("*")}
    discard_unstarted(run)
    assert {file: file.stat().st_mtime_ns for file in run.rglob("*")} == before
    unstarted = jobs[1].folder
    write_manifests(jobs[1:])
    failed(jobs[1], 0)
    (unstarted / "notes.txt").write_text("mine")
    discard_unstarted(unstarted)
    assert [file.name for file in unstarted.iterdir()] == ["notes.txt"]
