from __future__ import annotations

import os
from pathlib import Path

import pytest

from dqn_cli import hardware
from dqn_cli.hardware import available_cores, share_cores, wanted_threads


@pytest.fixture(autouse=True)
def cgroup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns an empty folder in place of the container's limits."""
    monkeypatch.setattr(hardware, "CGROUP", tmp_path)
    return tmp_path


def test_only_cores_that_the_process_may_use_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 3, 4}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert available_cores() == 3


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max 100000", 8), ("200000 100000", 2), ("150000 100000", 2), ("1000 100000", 1)],
)
def test_a_container_may_have_a_share_of_the_cores_time(
    monkeypatch: pytest.MonkeyPatch, cgroup: Path, limit: str, expected: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    (cgroup / "cpu.max").write_text(f"{limit}\n")
    assert available_cores() == expected


def test_a_container_cant_have_more_cores_than_there_are(
    monkeypatch: pytest.MonkeyPatch, cgroup: Path
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    (cgroup / "cpu.max").write_text("1600000 100000\n")
    assert available_cores() == 3


@pytest.mark.parametrize(("counted", "expected"), [(6, 6), (None, 1)])
def test_all_cores_count_where_affinity_is_unknown(
    monkeypatch: pytest.MonkeyPatch, counted: int | None, expected: int
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: counted)
    assert available_cores() == expected


@pytest.mark.parametrize(
    ("value", "wanted"), [("3", 3), ("4,2", 4), ("", None), ("0", None), ("many", None)]
)
def test_openmps_variable_asks_for_threads(
    monkeypatch: pytest.MonkeyPatch, value: str, wanted: int | None
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert wanted_threads() == wanted


@pytest.mark.parametrize(
    ("given", "threads"),
    [
        ({}, 1),
        ({"SLURM_CPUS_PER_TASK": "4"}, 4),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "2", "SLURM_CPUS_PER_TASK": "4"}, 2),
    ],
)
def test_a_job_beside_others_takes_one_core_or_what_it_was_given(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], threads: int
) -> None:
    for name in ("OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    share_cores()
    assert wanted_threads() == threads
