"""Compare training speed with Stable-Baselines3, Tianshou, TorchRL and CleanRL.

python benchmarks/speed.py [--rounds 5] [--settings A B C LunarLander] [--cleanrl CHECKOUT]

Each system is installed into its own virtual environment below `--folder`. Each timing is a new
process, and a round times every system once. CleanRL is not published as a package: with a checkout
of it, its dqn.py takes part, with Gymnasium 0.29 as it requires.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

PEERS = Path(__file__).parent / "peers"
OURS = "dqn_train"
POPULATION = "dqn_train_population"
PACKAGES = {
    "sb3": (
        "gymnasium[classic-control,box2d]<1.5",
        "stable-baselines3>=2.9,<3",
        "ale-py>=0.12,<0.13",
        "opencv-python-headless<6",
    ),
    "tianshou": ("gymnasium[classic-control,box2d]<1.5", "tianshou>=2.0,<3"),
    "torchrl": ("gymnasium[classic-control,box2d]<1.5", "torchrl>=0.14,<0.15"),
    "cleanrl": (
        "gymnasium[classic-control]==0.29.1",
        "box2d",
        "numpy<2",
        "tyro",
        "tensorboard",
        "setuptools<81",
        "ale-py>=0.10,<0.11",
        "opencv-python-headless<4.11",
    ),
}
TORCH = "torch>=2.10,<2.14"
FIRST = 1500  # step at which timing starts, 500 after learning starts
STEPS = {OURS: 20_000, POPULATION: 10_000}  # timed steps; other systems are slower and get fewer
PEER_STEPS = 3_000

Report = dict[str, float]


def main() -> None:
    arguments = parse_arguments()
    systems = [
        OURS,
        POPULATION,
        *(name for name in PACKAGES if name != "cleanrl" or arguments.cleanrl),
    ]
    pythons = {name: find_python(name, arguments.folder) for name in systems}
    checkout = arguments.cleanrl.absolute() if arguments.cleanrl else ""
    environment = dict(os.environ, CLEANRL=str(checkout))
    for setting in arguments.settings:
        with tempfile.TemporaryDirectory() as empty:
            cold = time_system(
                OURS, pythons[OURS], setting, environment | {"XDG_CACHE_HOME": empty}
            )
        reports: dict[str, list[Report]] = {name: [] for name in systems}
        for _ in range(arguments.rounds):
            for name in systems:
                if report := time_system(name, pythons[name], setting, environment):
                    reports[name].append(report)
        print(table(setting, reports, cold), flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--settings", nargs="+", default=["A", "B", "C", "LunarLander"])
    parser.add_argument("--cleanrl", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("outputs/peers"))
    return parser.parse_args()


def find_python(name: str, folder: Path) -> str:
    """Return the Python of a system's virtual environment, which is created if missing."""
    if name in (OURS, POPULATION):
        return sys.executable
    python = folder / name / "bin" / "python"
    if not python.exists():
        venv.create(folder / name, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", TORCH, *PACKAGES[name]]
        subprocess.run(install, check=True)
    return str(python.absolute())


def time_system(name: str, python: str, setting: str, environment: dict[str, str]) -> Report | None:
    """Time one process of a system; None if it does not support the setting."""
    last = FIRST + STEPS.get(name, PEER_STEPS)
    return run_script(name, python, [setting, str(FIRST), str(last)], environment)


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


def table(setting: str, reports: dict[str, list[Report]], cold: Report | None) -> str:
    """Return a table of medians over rounds, with the lowest and highest."""
    lines = [
        f"### {setting}\n",
        "| system | steps/s | dqn-train is faster by | 16 members are faster by"
        " | CPU s per 100,000 steps | peak MB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, mine in reports.items():
        if not mine:
            continue
        speeds = [report["steps_per_second"] for report in mine]
        cells = [
            name.replace("_", "-"),
            format_spread(speeds, ",.0f"),
            *(
                format_speedup(reports[system], mine) if name != system else ""
                for system in (OURS, POPULATION)
            ),
            f"{np.median([report['cpu_seconds'] for report in mine]):.0f}",
            f"{np.median([report['megabytes'] for report in mine]):.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    warm = np.median([report["until_first"] for report in reports[OURS]])
    launch = np.median([report["launch"] for report in reports[OURS]])
    lines.append(
        f"\nFrom launch to the first step {launch:.1f} s, to step {FIRST:,} {warm:.1f} s; with an"
        f" empty cache, where code is compiled first, {cold['until_first'] if cold else 0:.1f} s.\n"
    )
    return "\n".join(lines)


def format_speedup(ours: list[Report], theirs: list[Report]) -> str:
    """Format the speedup of `ours` over `theirs`, over the rounds."""
    pairs = zip(ours, theirs, strict=False)
    return format_spread(
        [our["steps_per_second"] / their["steps_per_second"] for our, their in pairs], ".1f"
    )


def format_spread(values: list[float], number_format: str) -> str:
    """Format the median, lowest and highest value."""
    numbers = (float(np.median(values)), min(values), max(values))
    middle, low, high = (format(number, number_format) for number in numbers)
    return f"{middle} [{low}, {high}]"


if __name__ == "__main__":
    main()
