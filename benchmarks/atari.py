"""Measure the speed on Atari and compare it with Stable-Baselines3 and CleanRL.

python benchmarks/atari.py [--rounds 5] [--threads 1 2] [--cleanrl CHECKOUT]

Every system plays Pong with Nature's network, a batch of 32 and an update every 4 steps. Steps are
those of the agent, of four frames each. Acting and learning alone are measured for dqn-train.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from peers.settings import ATARI, dqn_train_words
from systems import (
    Report,
    System,
    environment,
    find_python,
    format_speedup,
    format_spread,
    time_in_turn,
)

from dqn_cli.compiling.compiled_learner import CompiledLearner
from dqn_cli.compiling.compiler import AheadOfTime
from dqn_cli.config import registry
from dqn_cli.config.gymnasium_source import register_source
from dqn_cli.config.hydra_versions import compose_config
from dqn_cli.config.validation import settings_from
from dqn_cli.training.build_run import build_run
from dqn_cli.training.loop import act, learn, store

FIRST, LAST = 600, 1600  # steps between which the clock runs
COSTS = ("cpu_seconds", "megabytes")
BFLOAT16 = "network.bfloat16=true"
SYSTEMS = {
    "dqn-train": System("dqn_train_atari"),
    "dqn-train, bfloat16": System("dqn_train_atari", (BFLOAT16,)),
    "sb3": System("sb3_atari", packages="sb3"),
    "cleanrl": System("cleanrl_atari", packages="cleanrl"),
}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--cleanrl", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("outputs/peers"))
    arguments = parser.parse_args()
    print(table_of_parts())
    systems = {name: own for name, own in SYSTEMS.items() if name != "cleanrl" or arguments.cleanrl}
    pythons = {
        name: find_python(system.packages, arguments.folder) for name, system in systems.items()
    }
    checkout = str(arguments.cleanrl.absolute()) if arguments.cleanrl else ""
    words = ["Atari", str(FIRST), str(LAST)]
    for threads in arguments.threads:
        variables = environment(threads) | {"CLEANRL": checkout}
        reports = time_in_turn(systems, pythons, lambda _: words, variables, arguments.rounds)
        print(table(threads, reports), flush=True)


def table(threads: int, reports: dict[str, list[Report]]) -> str:
    """Return a table of medians over rounds, with the lowest and highest."""
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
                format_spread([report["steps_per_second"] for report in mine], ",.0f"),
                *(format_speedup(reports[system], mine) for system in list(SYSTEMS)[:2]),
                *(f"{median(report[key] for report in mine):.0f}" for key in COSTS),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def table_of_parts() -> str:
    """Return a table of acting and learning alone, for one game and eight, on each device."""
    lines = [
        "### Parts, one thread\n",
        "| device | games | vectorization | random steps/s | acting steps/s | updates/s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        for games in (1, 8):
            for kind in ("native", "sync"):
                rates = measure_parts(device, games, kind)
                cells = [device, str(games), kind, *(f"{rate:,.0f}" for rate in rates)]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def measure_parts(device: str, games: int, vectorization: str) -> tuple[float, float, float]:
    """Return random steps, acting steps and updates per second."""
    torch.set_num_threads(1)
    registry.register_schemas()
    register_source()
    words = [f"env.num_envs={games}", f"env.vectorization={vectorization}", f"device={device}"]
    settings = settings_from(compose_config([*dqn_train_words(ATARI), *words]))
    make_learner = partial(CompiledLearner, compiler=AheadOfTime())
    _, run = build_run([settings], make_learner=make_learner)
    random = np.random.default_rng(0)

    def step(action: np.ndarray) -> None:
        run.action = action
        store(run, run.envs.step(action))

    def step_at_random() -> None:
        step(random.integers(0, run.envs.spaces.actions, (1, games)))

    # Epsilon is 0, so acting is a forward pass and a step.
    run.clocks = [run.clocks[0]._replace(steps=settings.learning_starts)]
    random_steps = calls_per_second(step_at_random, 800 // games) * games
    acting_steps = (
        calls_per_second(lambda: step(act(settings, run, np.zeros((1, 1)))), 400 // games) * games
    )
    return (
        random_steps,
        acting_steps,
        calls_per_second(lambda: learn([settings], run, 1, [0.0]), 30),
    )


def calls_per_second(call: Callable[[], object], times: int) -> float:
    """Return the rate at which a function can be called."""
    for _ in range(3):
        call()
    start = time.perf_counter()
    for _ in range(times):
        call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return times / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
