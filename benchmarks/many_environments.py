"""Measure what a step costs with many copies of an environment.

python benchmarks/many_environments.py [--envs CartPole-v1 MinAtar/Breakout-v1]
    [--copies 1 8 64 1024] [--vectorization sync native] [--rounds 3] [--words compile=false ...]

PQN trains on rollouts of 32 steps, with as many updates whatever the number of copies: 16 on
CartPole, 64 on MinAtar. Times are microseconds of one thread by environment step. `environment` is
that of the bare environments, which take the same actions from the same seeds; `network` is acting
and learning, and `ours` what is left. There are no logs, evaluations and checkpoints.
"""

from __future__ import annotations

import argparse
import sys

import numpy as np
from systems import Report, environment, format_spread, pinned, run_script

ROLLOUT = 32  # steps of each copy
NEVER = "100000000"
# Word of dqn-train, updates of each training and minibatches of a rollout, by the id's first part.
AGENTS = {
    "CartPole-v1": ("agent=pqn", 16, 4),
    "MinAtar": ("experiment=pqn_minatar", 64, 32),
}
NATIVE = ("CartPole-v1",)  # have a vector environment of their own
WARM_UP, TIMED = 2, 4  # rollouts; more are timed of few copies


def main() -> None:
    arguments = parse_arguments()
    print("| environment | vectorization | copies | total | environment | network | ours |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with pinned(1):
        for env_id in arguments.envs:
            for vectorization in arguments.vectorization:
                if vectorization == "native" and env_id not in NATIVE:
                    continue
                for copies in arguments.copies:
                    reports = [
                        time_parts(env_id, vectorization, copies, arguments.words)
                        for _ in range(arguments.rounds)
                    ]
                    if found := [report for report in reports if report]:
                        print(row(env_id, vectorization, copies, found), flush=True)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--envs", nargs="+", default=["CartPole-v1", "MinAtar/Breakout-v1"])
    parser.add_argument("--copies", type=int, nargs="+", default=[1, 8, 64, 1024])
    parser.add_argument("--vectorization", nargs="+", default=["sync", "native"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--words", nargs="*", default=[])
    return parser.parse_args()


def time_parts(env_id: str, vectorization: str, copies: int, words: list[str]) -> Report | None:
    """Return microseconds of each part by environment step; None if it can't be run."""
    family = env_id.partition("/")[0]
    agent, updates, minibatches = AGENTS[family]
    calls = ROLLOUT * WARM_UP, ROLLOUT * (WARM_UP + max(TIMED, 256 // copies))
    settings = [
        agent,
        f"env={env_id}",
        f"env.num_envs={copies}",
        f"train_every={ROLLOUT * copies}",
        f"updates_per_train={updates}",
        f"replay.batch_size={ROLLOUT * copies // minibatches}",
        f"replay.capacity={2 * ROLLOUT * copies}",
        *(f"{key}={NEVER}" for key in ("steps", "log.every", "checkpoint.every")),
        "eval.every=null",
        "threads=1",
        *words,
    ]
    arguments = [env_id, vectorization, *map(str, calls), *settings]
    return run_script("dqn_train_parts", sys.executable, arguments, environment(1))


def row(env_id: str, vectorization: str, copies: int, reports: list[Report]) -> str:
    """Return a line of the table: medians over rounds, and the range of what is ours."""
    networks = [report["act"] + report["learn"] for report in reports]
    ours = [
        report["total"] - report["environment"] - network
        for report, network in zip(reports, networks, strict=True)
    ]
    cells = [
        env_id,
        vectorization,
        f"{copies:,}",
        *(
            f"{np.median([report[part] for report in reports]):.2f}"
            for part in ("total", "environment")
        ),
        f"{np.median(networks):.2f}",
        format_spread(ours, ".2f"),
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    main()
