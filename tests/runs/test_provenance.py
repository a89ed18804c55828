from __future__ import annotations

import subprocess
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest
import torch

from dqn_cli.runs import provenance
from dqn_cli.runs.provenance import git_commit, versions


def test_versions_are_those_of_the_running_packages() -> None:
    # A wheel's own version may leave out the build, such as +cu130.
    running, recorded = (text.partition("+") for text in (torch.__version__, versions()["torch"]))
    assert recorded[0] == running[0]
    assert recorded[2] in ("", running[2])
    assert versions()["python"].startswith("3.")


def test_a_missing_package_is_unknown_and_a_missing_extra_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def version(package: str) -> str:
        if package in ("dqn-train", "minatar"):
            raise PackageNotFoundError(package)
        return f"{package} 1"

    monkeypatch.setattr(provenance, "version", version)
    provenance.package_version.cache_clear()
    numbers = versions()
    provenance.package_version.cache_clear()
    assert numbers["dqn-train"] == "unknown"
    assert numbers["ale-py"] == "ale-py 1"
    assert "minatar" not in numbers


def test_the_commit_is_that_of_the_working_folder(in_folder: Path) -> None:
    assert git_commit() is None
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", *identity, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    commit = git_commit()
    assert commit is not None
    assert len(commit) == 40
