"""Compare training speed with other libraries, PyTorch's and those that XLA compiles.

python benchmarks/speed.py [--rounds 5] [--settings A B C LunarLander] [--threads 1 2]
    [--systems dqn-train sb3 ...] [--cleanrl CHECKOUT]

Each system is installed into its own virtual environment below `--folder`. Each timing is a new
process, and a round times every system once, on the same cores. The first round begins with an
empty cache of compiled code; its times until the first timed step are the cold ones. CleanRL is not
published as a package: with a checkout of it, its dqn.py takes part, with Gymnasium 0.29 as it
requires.

Stable-Baselines3, SBX, Tianshou, TorchRL and CleanRL step the same Gymnasium environment as
dqn-train. rejax has a CartPole of its own, within the compiled program, and squared loss instead of
Huber's. It samples without replacement from all 100,000 entries, which is most of its time;
`rejax-replacing` samples as the others do.
"""

from __future__ import annotations

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from systems import (
    Report,
    System,
    environment,
    find_python,
    format_speedup,
    format_spread,
    pinned,
    time_in_turn,
)

OURS, POPULATION = "dqn-train", "dqn-train-population"
MEMBERS = "16"  # of rejax under vmap, as many as of the population
SYSTEMS = {
    OURS: System("dqn_train", steps=20_000),
    POPULATION: System("dqn_train_population", steps=10_000),
    "sb3": System("sb3", packages="sb3"),
    "sbx": System("sbx", packages="sbx"),
    "tianshou": System("tianshou", packages="tianshou"),
    "torchrl": System("torchrl", packages="torchrl"),
    "cleanrl": System("cleanrl", packages="cleanrl"),
    "rejax": System("rejax", packages="rejax"),
    "rejax-replacing": System("rejax", ("--replace",), "rejax", 20_000),
    "rejax-vmap": System("rejax", ("--replace", "--members", MEMBERS), "rejax", 10_000),
}
# Further columns of the table and how their numbers are written.
COLUMNS = {"until_first": ".1f", "cpu_seconds": ".0f", "megabytes": ".0f"}
FIRST = 1500  # step at which timing starts, 500 after learning starts


def main() -> None:
    arguments = parse_arguments()
    systems = {name: SYSTEMS[name] for name in arguments.systems}
    if not arguments.cleanrl:
        systems.pop("cleanrl", None)
    pythons = {
        name: find_python(system.packages, arguments.folder) for name, system in systems.items()
    }
    checkout = str(arguments.cleanrl.absolute()) if arguments.cleanrl else ""
    for setting in arguments.settings:
        for threads in arguments.threads:
            words = partial(timing_words, setting)
            with pinned(threads), tempfile.TemporaryDirectory() as cache:
                variables = environment(threads, cache) | {"CLEANRL": checkout}
                rounds = 1 + arguments.rounds  # the first one is cold
                reports = time_in_turn(systems, pythons, words, variables, rounds)
            print(table(setting, threads, reports), flush=True)


def timing_words(setting: str, system: System) -> list[str]:
    """Return the arguments of a script: its setting, and the steps between which it is timed."""
    return [setting, str(FIRST), str(FIRST + system.steps)]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--settings", nargs="+", default=["A", "B", "C", "LunarLander"])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--cleanrl", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("outputs/peers"))
    return parser.parse_args()


def table(setting: str, threads: int, reports: dict[str, list[Report]]) -> str:
    """Return a table of medians over rounds, with the lowest and highest."""
    lines = [
        f"### {setting}, {threads} {'thread' if threads == 1 else 'threads'}\n",
        "| system | steps/s | dqn-train is faster by | 16 members are faster by"
        f" | launch to step {FIRST:,}, cold, s | warm, s | CPU s per 100,000 steps | peak MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, (cold, *mine) in ((name, mine) for name, mine in reports.items() if mine):
        cells = [
            name,
            format_spread([report["steps_per_second"] for report in mine], ",.0f"),
            *(
                format_speedup(reports[system][1:], mine)
                if system != name and reports.get(system)
                else ""
                for system in (OURS, POPULATION)
            ),
            f"{cold['until_first']:.1f}",
            *(
                f"{np.median([report[key] for report in mine]):{number_format}}"
                for key, number_format in COLUMNS.items()
            ),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
