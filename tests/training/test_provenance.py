from __future__ import annotations

import subprocess
from pathlib import Path

import torch

from dqn_cli.training.provenance import git_commit, versions


def test_versions_are_those_that_run() -> None:
    assert versions()["torch"] == torch.__version__
    assert versions()["python"].startswith("3.")


def test_the_commit_is_that_of_the_working_folder(in_folder: Path) -> None:
    assert git_commit() is None
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    subprocess.run(["git", "init", "-q"], check=True)
    subprocess.run(["git", *identity, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    commit = git_commit()
    assert commit is not None
    assert len(commit) == 40
