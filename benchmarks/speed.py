"""Training speed beside Stable-Baselines3, Tianshou, TorchRL and CleanRL on the same work.

python benchmarks/speed.py [--rounds 5] [--settings A B C LunarLander] [--cleanrl CHECKOUT]

Each system is installed into an environment of its own below `--folder`, and each timing is a
process of its own; a round times every system once. CleanRL is in no package registry: name a
checkout of it, and its dqn.py takes part, with the Gymnasium 0.29 that it asks for.
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
TOGETHER = "dqn_train_population"
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
FIRST = 1500  # step at which the clock starts: 500 after learning has
STEPS = {OURS: 20_000, TOGETHER: 10_000}  # that are timed; peers get fewer, for they are slower
PEER_STEPS = 3_000

Report = dict[str, float]


def main() -> None:
    arguments = parsed()
    systems = [
        OURS,
        TOGETHER,
        *(name for name in PACKAGES if name != "cleanrl" or arguments.cleanrl),
    ]
    pythons = {name: python_of(name, arguments.folder) for name in systems}
    checkout = arguments.cleanrl.absolute() if arguments.cleanrl else ""
    environment = dict(os.environ, CLEANRL=str(checkout))
    for setting in arguments.settings:
        with tempfile.TemporaryDirectory() as empty:
            cold = timed(OURS, pythons[OURS], setting, environment | {"XDG_CACHE_HOME": empty})
        reports: dict[str, list[Report]] = {name: [] for name in systems}
        for _ in range(arguments.rounds):
            for name in systems:
                if report := timed(name, pythons[name], setting, environment):
                    reports[name].append(report)
        print(table(setting, reports, cold), flush=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--settings", nargs="+", default=["A", "B", "C", "LunarLander"])
    parser.add_argument("--cleanrl", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("outputs/peers"))
    return parser.parse_args()


def python_of(name: str, folder: Path) -> str:
    """The interpreter of a system's own environment, which is made if it is not there."""
    if name in (OURS, TOGETHER):
        return sys.executable
    python = folder / name / "bin" / "python"
    if not python.exists():
        venv.create(folder / name, with_pip=True)
        install = [python, "-m", "pip", "install", "--quiet", TORCH, *PACKAGES[name]]
        subprocess.run(install, check=True)
    return str(python.absolute())


def timed(name: str, python: str, setting: str, environment: dict[str, str]) -> Report | None:
    """What one process of a system reports; None if it does not take part in a setting."""
    last = FIRST + STEPS.get(name, PEER_STEPS)
    return report_of(name, python, [setting, str(FIRST), str(last)], environment)


def report_of(
    name: str, python: str, words: Sequence[str], environment: dict[str, str]
) -> Report | None:
    """What the script of that name prints when it gets these words; None, and why, if nothing."""
    script = str((PEERS / f"{name}_.py").absolute())
    command = [python, "-W", "ignore", script, *words]
    # Some write below the folder they are in, and a process that ends at once tidies nothing up.
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
    """Medians over rounds, with the lowest and highest."""
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
            spread(speeds, ",.0f"),
            *(faster(reports[own], mine) if name != own else "" for own in (OURS, TOGETHER)),
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


def faster(ours: list[Report], theirs: list[Report]) -> str:
    """How many times as fast, round by round."""
    pairs = zip(ours, theirs, strict=False)
    return spread(
        [own["steps_per_second"] / other["steps_per_second"] for own, other in pairs], ".1f"
    )


def spread(values: list[float], form: str) -> str:
    """Median, lowest and highest."""
    numbers = (float(np.median(values)), min(values), max(values))
    middle, low, high = (format(number, form) for number in numbers)
    return f"{middle} [{low}, {high}]"


if __name__ == "__main__":
    main()
