"""Compare whole runs, from the launch of a process to its end, with other libraries.

python benchmarks/launches.py [--steps 3000 10000 60000] [--settings A B] [--threads 1]
    [--rounds 5] [--systems dqn-train sb3 ...]

Short runs are mostly imports, compilation and the first updates. Nothing is evaluated. A round runs
every system once, cold (with an empty cache of compiled code) and, if it keeps one, warm (with the
cache that the cold run left). The environments are those of benchmarks/speed.py, as are the limits
of the comparison with rejax.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from systems import System, environment, find_python, format_spread, pinned, run_script

OURS = "dqn-train"
SYSTEMS = {
    OURS: System("dqn_train_whole"),
    "sb3": System("sb3_whole", ("stable_baselines3",), "sb3"),
    "sbx": System("sb3_whole", ("sbx",), "sbx"),
    "rejax": System("rejax_whole", (), "rejax"),
    "rejax-replacing": System("rejax_whole", ("--replace",), "rejax"),
}
WITHOUT_CACHE = ("sb3",)


class WholeRun(NamedTuple):
    """A run of one system, from launch to end."""

    seconds: float
    updates: float


Runs = dict[tuple[str, str], list[WholeRun]]  # by system and state of its cache, of each round


def main() -> None:
    arguments = parse_arguments()
    pythons = {
        name: find_python(SYSTEMS[name].packages, arguments.folder) for name in arguments.systems
    }
    for setting in arguments.settings:
        for threads in arguments.threads:
            for steps in arguments.steps:
                runs: Runs = {}
                with pinned(threads):
                    for _ in range(arguments.rounds):
                        for name, python in pythons.items():
                            run_cold_and_warm(name, python, setting, steps, threads, runs)
                print(table(setting, steps, threads, runs), flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, nargs="+", default=[3_000, 10_000, 60_000])
    parser.add_argument("--settings", nargs="+", default=["A", "B"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--folder", type=Path, default=Path("outputs/peers"))
    return parser.parse_args()


def run_cold_and_warm(
    name: str, python: str, setting: str, steps: int, threads: int, runs: Runs
) -> None:
    """Run a system with an empty cache, then with what it left there; adds to `runs`."""
    system = SYSTEMS[name]
    words = [setting, str(steps), *system.words]
    with tempfile.TemporaryDirectory() as cache:
        for state in ("",) if name in WITHOUT_CACHE else ("cold", "warm"):
            start = time.perf_counter()
            report = run_script(system.script, python, words, environment(threads, cache))
            seconds = time.perf_counter() - start
            if report is not None:
                runs.setdefault((name, state), []).append(WholeRun(seconds, report["updates"]))


def table(setting: str, steps: int, threads: int, runs: Runs) -> str:
    """Return a table of medians over rounds, with the lowest and highest."""
    lines = [
        f"### {setting}, {steps:,} steps, {threads} {'thread' if threads == 1 else 'threads'}\n",
        "| system | cache | seconds | dqn-train is sooner by, cold | warm | updates |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (name, state), mine in runs.items():
        cells = [
            name,
            state,
            format_spread([run.seconds for run in mine], ".1f"),
            *(format_gain(runs.get((OURS, state), []), mine) for state in ("cold", "warm")),
            f"{mine[-1].updates:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def format_gain(ours: list[WholeRun], theirs: list[WholeRun]) -> str:
    """Format how many times as long their runs take as ours, over the rounds."""
    ratios = [their.seconds / our.seconds for our, their in zip(ours, theirs, strict=False)]
    return format_spread(ratios, ".1f") if ratios and ours is not theirs else ""


if __name__ == "__main__":
    main()
