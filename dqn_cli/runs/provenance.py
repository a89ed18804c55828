"""Provenance of a result: package versions and the Git commit."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("dqn-train", "torch", "gymnasium", "numpy", "hydra-core", "omegaconf")
OPTIONAL = ("ale-py", "minatar")  # extras that bring environments


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a result depends on."""
    numbers = {"python": platform.python_version()}
    # A checkout can run without being installed.
    numbers |= {package: package_version(package) or "unknown" for package in PACKAGES}
    extras = {extra: package_version(extra) for extra in OPTIONAL}
    return numbers | {extra: number for extra, number in extras.items() if number}


@cache  # every checkpoint records all versions
def package_version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_commit() -> str | None:
    """Return the commit of the working directory, with `-dirty` if it has changes, or None."""
    command = ["git", "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
