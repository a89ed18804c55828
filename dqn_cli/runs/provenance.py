"""What a result was made with, so that somebody else can make it again."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("dqn-train", "torch", "gymnasium", "numpy", "hydra-core", "omegaconf")
OPTIONAL = ("ale-py", "minatar")  # extras that bring environments


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()}
    # A checkout may never have been installed itself.
    found |= {package: _version(package) or "unknown" for package in PACKAGES}
    return found | {extra: number for extra in OPTIONAL if (number := _version(extra))}


@cache  # each takes a millisecond, and is asked for with each checkpoint
def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """The commit of the folder that the run was started in, `-dirty` if it has changes; or None."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
