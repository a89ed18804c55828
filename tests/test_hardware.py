from __future__ import annotations

import os
from pathlib import Path

import pytest

from dqn_cli import hardware
from dqn_cli.hardware import available_cores


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
