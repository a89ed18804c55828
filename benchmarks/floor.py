"""Compare a compiled update with its matrix products alone, compiled in the same way.

python benchmarks/floor.py [ROUNDS]

Settings A and B are those of benchmarks/speed.py, with one member and with sixteen. Both sides use
one thread and alternate.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.optimizers import Adam, Schedule
from dqn_cli.agent.spaces import VECTOR, Part, Spaces
from dqn_cli.agent.update_rules import Dqn
from dqn_cli.compiling.compiled_learner import CompiledLearner
from dqn_cli.compiling.compiler import AheadOfTime
from dqn_cli.replay.batches import BatchSpec
from dqn_cli.replay.samplers import Replay, ReplayDevice, Uniform
from dqn_cli.replay.stream import EnvStep, Stream
from dqn_cli.training.randomness import Purpose, Randomness

CALLS, CAPACITY = 300, 10_000
ACTIONS, INPUTS = 2, 4  # CartPole's
UNIFORM = Uniform(CAPACITY, 1, 1, ReplayDevice.cpu)
SETTINGS = {"A": (128, 64), "B": (64, 32)}


def main() -> None:
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    for members in (1, 16):
        for name, (width, batch) in SETTINGS.items():
            ours, floor = make_update(width, batch, members), make_products(width, batch, members)
            ours(), floor()
            times = np.array([(call_time(ours), call_time(floor)) for _ in range(rounds)])  # us
            ratio = np.sort(times[:, 0] / times[:, 1])
            mine, least = np.median(times, axis=0) / members
            print(
                f"{name}, {members} members: update {mine:.0f} us a member, its matrix products"
                f" {least:.0f} us, ratio {np.median(ratio):.2f} [{ratio[0]:.2f}, {ratio[-1]:.2f}]"
            )


def call_time(call: Callable[[], Any]) -> float:
    """Return the microseconds of one call."""
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) / CALLS * 1e6


def make_update(
    width: int, batch: int, members: int = 1, replay: Replay = UNIFORM, capacity: int = CAPACITY
) -> Callable[[], Any]:
    """Return a function that samples a batch, updates the agent, and updates priorities if any."""
    stream, random = filled(members, capacity), np.random.default_rng(0)
    replay = replace(replay, batch_size=batch, capacity=capacity)
    sampler = replay.sampler(stream, BatchSpec(1, ACTIONS, 0, False), np.full(members, 0.99))
    part = Part("", VECTOR, (INPUTS,), (-1.0,), (1.0,), False)
    agent = Agent(
        Spaces((part,), ACTIONS),
        Mlp([width, width], False, False, False, False, 0.5),
        Scalar(Loss.huber),
        Dqn(),
        Adam(1e-4, Schedule.constant, None, 0.9, 0.999, 1e-8),
    )
    weights = [np.random.default_rng(member) for member in range(members)]
    device = torch.device("cpu")
    agents, compiler = [agent] * members, AheadOfTime()
    learner = CompiledLearner(agents, weights, torch.float32, device, sampler, compiler)
    noise = Randomness(range(members), Purpose.noise)
    done, factors = [0.0] * members, [1.0] * members

    def call() -> None:
        draw = sampler.draw(lambda count: random.random((members, count)), done)
        learner.update(draw, noise, factors)

    return call


def make_products(width: int, batch: int, members: int = 1) -> Callable[[], Any]:
    """Return a function of 11 products a member: both networks forward and one backward."""

    def compute(weights: tuple[Tensor, ...], hidden: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first, second, last = weights
        x, h, d = hidden
        forward = (x @ first, h @ second, h @ last.mT)
        backward = (d @ last, d.mT @ h, h @ second.mT, h.mT @ h, x.mT @ h)
        # The target network's products, on other inputs, so that the compiler keeps them.
        return (*forward, (x + 1) @ first, (h + 1) @ second, (h + 2) @ last.mT, *backward)

    lead = () if members == 1 else (members,)
    shapes = (INPUTS, width), (width, width), (ACTIONS, width)
    weights = tuple(torch.randn(*lead, *shape) for shape in shapes)
    hidden = tuple(torch.randn(*lead, batch, size) for size in (INPUTS, width, ACTIONS))
    run = AheadOfTime()(compute, (weights,))
    return lambda: run(hidden)


def filled(members: int, capacity: int) -> Stream:
    """Return a stream whose buffers are full of random transitions."""
    random, mask = np.random.default_rng(0), np.ones((members, 1, ACTIONS), bool)
    obs = random.normal(size=(members, 1, INPUTS)).astype(np.float32)
    stream, shape = Stream(capacity, obs, mask, False, 0, 1), (members, 1)
    false = np.zeros(shape, bool)
    for _ in range(stream.slots):
        after = random.normal(size=obs.shape).astype(np.float32)
        step = EnvStep(np.ones(shape), false, false, false, after, mask, after, mask)
        stream.append(random.integers(ACTIONS, size=shape), step)
    return stream


if __name__ == "__main__":
    main()
