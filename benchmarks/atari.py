"""Speed on Atari: acting, learning and both, and both beside Stable-Baselines3 and CleanRL.

python benchmarks/atari.py [--rounds 5] [--threads 1 2] [--cleanrl CHECKOUT]

All play Pong with Nature's network, a batch of 32 and an update every 4 steps. What is counted is
agent's steps, each of four frames.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from peers.settings import ATARI, dqn_train_words
from speed import OURS, Report, faster, python_of, report_of, spread

from dqn_cli.compiling.compiler import AheadOfTime
from dqn_cli.config import registry
from dqn_cli.config.gymnasium_source import register_source
from dqn_cli.config.paths import config_folder
from dqn_cli.config.validation import settings_from
from dqn_cli.training.build_run import build_run
from dqn_cli.training.loop import act, learn, remember

FIRST, LAST = 600, 1600  # steps between which the clock runs
COSTS = ("cpu_seconds", "megabytes")
BFLOAT16 = "network.bfloat16=true"
# A script of peers, and the words it gets.
SYSTEMS = {
    "dqn-train": (f"{OURS}_atari", ()),
    "dqn-train, bfloat16": (f"{OURS}_atari", (BFLOAT16,)),
    "sb3": ("sb3_atari", ()),
    "cleanrl": ("cleanrl_atari", ()),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cleanrl", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("outputs/peers"))
    arguments = parser.parse_args()
    print(parts())
    systems = [name for name in SYSTEMS if name != "cleanrl" or arguments.cleanrl]
    pythons = {
        name: python_of(OURS if "dqn" in name else name, arguments.folder) for name in systems
    }
    checkout = arguments.cleanrl.absolute() if arguments.cleanrl else ""
    for threads in arguments.threads:
        environment = dict(os.environ, CLEANRL=str(checkout), OMP_NUM_THREADS=str(threads))
        reports: dict[str, list[Report]] = {name: [] for name in systems}
        for _ in range(arguments.rounds):
            for name in systems:
                script, words = SYSTEMS[name]
                own = (f"threads={threads}", *words) if "dqn" in name else ()
                line = ["Atari", str(FIRST), str(LAST), *own]
                if report := report_of(script, pythons[name], line, environment):
                    reports[name].append(report)
        print(table(threads, reports), flush=True)


def table(threads: int, reports: dict[str, list[Report]]) -> str:
    """Medians over rounds, with the lowest and highest."""
    lines = [
        f"### Nature DQN on Pong, acting and learning, {threads} threads\n",
        "| system | steps/s | dqn-train is faster by | in bfloat16 | CPU s per 100,000 steps"
        " | peak MB |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, mine in reports.items():
        if mine:
            cells = [
                name,
                spread([report["steps_per_second"] for report in mine], ",.0f"),
                *(faster(reports[own], mine) for own in list(SYSTEMS)[:2]),
                *(f"{median(report[key] for report in mine):.0f}" for key in COSTS),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def parts() -> str:
    """Acting and learning alone, for one game and for eight, on each device there is."""
    lines = [
        "### Parts, one thread\n",
        "| device | games | vectorization | random steps/s | acting steps/s | updates/s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        for games in (1, 8):
            for kind in ("native", "sync"):
                figures = parts_of(device, games, kind)
                cells = [device, str(games), kind, *(f"{figure:,.0f}" for figure in figures)]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def parts_of(device: str, games: int, kind: str) -> tuple[float, float, float]:
    """Random steps, acting steps and updates in a second."""
    torch.set_num_threads(1)
    registry.register_schemas()
    register_source()
    words = [f"env.num_envs={games}", f"env.vectorization={kind}", f"device={device}"]
    with initialize_config_dir(str(config_folder()), version_base=None):
        config = compose(
            "config",
            ["hydra.searchpath=[gymnasium://]", *dqn_train_words(ATARI), *words],
        )
    settings = settings_from(config)
    _, run = build_run([settings], None, AheadOfTime())
    random = np.random.default_rng(0)

    def step(action: np.ndarray) -> None:
        run.action = action
        remember(run, run.envs.step(action))

    def anything() -> None:
        step(random.integers(0, run.envs.spaces.actions, (1, games)))

    # Greedy: acting is a network's answer and a step.
    run.clocks = [run.clocks[0]._replace(steps=settings.learning_starts)]
    at_random = rate(anything, 800 // games) * games
    acting = rate(lambda: step(act(settings, run, np.zeros((1, 1)))), 400 // games) * games
    return at_random, acting, rate(lambda: learn([settings], run, 1), 30)


def rate(doing: Callable[[], object], times: int) -> float:
    """How often it can be done in a second."""
    for _ in range(3):
        doing()
    began = time.perf_counter()
    for _ in range(times):
        doing()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return times / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
