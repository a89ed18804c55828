"""The systems that benchmarks compare, in virtual environments of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

PEERS = Path(__file__).parent / "peers"
TORCH = "torch>=2.10,<2.14"
GYMNASIUM = "gymnasium[classic-control,box2d]<1.5"
# What each virtual environment has; that of dqn-train is the one that this script runs in.
PACKAGES = {
    "sb3": (
        TORCH,
        GYMNASIUM,
        "stable-baselines3>=2.9,<3",
        "ale-py>=0.12,<0.13",
        "opencv-python-headless<6",
    ),
    "tianshou": (TORCH, GYMNASIUM, "tianshou>=2.0,<3"),
    "torchrl": (TORCH, GYMNASIUM, "torchrl>=0.14,<0.15"),
    "cleanrl": (
        TORCH,
        "gymnasium[classic-control]==0.29.1",
        "box2d",
        "numpy<2",
        "tyro",
        "tensorboard",
        "setuptools<81",
        "ale-py>=0.10,<0.11",
        "opencv-python-headless<4.11",
    ),
    "sbx": (TORCH, GYMNASIUM, "sbx-rl>=0.28,<0.29"),
    "rejax": ("rejax==0.1.3", "gymnax==0.0.9"),  # gymnax 1 has another interface
}

Report = dict[str, float]


@dataclass(frozen=True)
class System:
    """A script in peers/ that is timed, its further arguments and its virtual environment."""

    script: str
    words: tuple[str, ...] = ()
    packages: str | None = None  # key of PACKAGES; None: those of dqn-train
    steps: int = 3_000  # timed steps; fast systems take more


def find_python(packages: str | None, folder: Path) -> str:
    """Return the Python of a virtual environment below `folder`, which is created if missing."""
    if packages is None:
        return sys.executable
    python = folder / packages / "bin" / "python"
    if not python.exists():
        venv.create(folder / packages, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", *PACKAGES[packages]]
        try:
            subprocess.run(install, check=True)
        except BaseException:  # or a later call would take it for complete
            shutil.rmtree(folder / packages)
            raise
    return str(python.absolute())


def environment(threads: int, cache: str | Path | None = None) -> dict[str, str]:
    """Return the environment variables of a process.

    Args:
        threads: Threads of each system; XLA takes as many as there are cores, so see `pinned`.
        cache: Folder in which compiled code is kept; None: the user's.
    """
    variables = {"OMP_NUM_THREADS": str(threads), "JAX_PLATFORMS": "cpu"}
    if cache is not None:
        variables |= {
            "XDG_CACHE_HOME": str(cache),
            "JAX_COMPILATION_CACHE_DIR": f"{cache}/jax",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
    return dict(os.environ, **variables)


@contextmanager
def pinned(cores: int) -> Iterator[None]:
    """Bind this process, and those that it starts, to the first of its cores."""
    allowed = os.sched_getaffinity(0)
    if cores > len(allowed):
        raise SystemExit(f"--threads {cores}: only {len(allowed)} cores are available")
    os.sched_setaffinity(0, sorted(allowed)[:cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def run_script(
    name: str, python: str, words: Sequence[str], environment: dict[str, str]
) -> Report | None:
    """Run a script in peers/ and return the report that it prints.

    Without a report, print the reason and return None.
    """
    script = str((PEERS / f"{name}_.py").absolute())
    command = [python, "-W", "ignore", script, *words]
    # Some systems write into the current folder, and the timer ends the process without cleanup.
    with tempfile.TemporaryDirectory() as folder:
        scratch = environment | {"TMPDIR": folder}
        done = subprocess.run(command, cwd=folder, env=scratch, capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        print(f"{name} has no timing of {words[0]}: {reason}", file=sys.stderr)
        return None
    report: Report = json.loads(lines[-1])
    return report


def time_in_turn(
    systems: Mapping[str, System],
    pythons: Mapping[str, str],
    words: Callable[[System], Sequence[str]],
    environment: dict[str, str],
    rounds: int,
) -> dict[str, list[Report]]:
    """Return the reports of each system; every round times each of them once.

    Args:
        systems: By name.
        pythons: The Python of each.
        words: Returns the arguments of a system's script.
        environment: Environment variables of all processes.
        rounds: Number of rounds.
    """
    reports: dict[str, list[Report]] = {name: [] for name in systems}
    for _ in range(rounds):
        for name, system in systems.items():
            own = [*words(system), *system.words]
            if report := run_script(system.script, pythons[name], own, environment):
                reports[name].append(report)
    return reports


def format_speedup(ours: Sequence[Report], theirs: Sequence[Report]) -> str:
    """Format the speedup of `ours` over `theirs`, over the rounds."""
    pairs = zip(ours, theirs, strict=False)
    return format_spread(
        [our["steps_per_second"] / their["steps_per_second"] for our, their in pairs], ".1f"
    )


def format_spread(values: Sequence[float], number_format: str) -> str:
    """Format the median, lowest and highest value."""
    numbers = (float(np.median(values)), min(values), max(values))
    middle, low, high = (format(number, number_format) for number in numbers)
    return f"{middle} [{low}, {high}]"
