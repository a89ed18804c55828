"""A compiled update beside its matrix products alone, which are compiled in the same way.

python benchmarks/floor.py [ROUNDS]

Settings A and B are those of benchmarks/speed.py. Both sides run one thread, in alternation.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.networks import Mlp
from dqn_cli.agent.optimizers import Adam, Schedule
from dqn_cli.agent.spaces import Spaces
from dqn_cli.agent.updates import Dqn
from dqn_cli.replay.samplers import Uniform
from dqn_cli.replay.stream import Step, Stream
from dqn_cli.replay.views import transitions
from dqn_cli.training.compiler import AheadOfTime
from dqn_cli.training.learner import Learner
from dqn_cli.training.randomness import Purpose, Randomness

CALLS, CAPACITY = 300, 10_000
ACTIONS, INPUTS = 2, 4  # CartPole's
SETTINGS = {"A": (128, 64), "B": (64, 32)}


def main() -> None:
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    for name, (width, batch) in SETTINGS.items():
        ours, floor = update(width, batch), products(width, batch)
        ours(), floor()
        times = np.array([(timed(ours), timed(floor)) for _ in range(rounds)])  # [rounds, 2], us
        ratio = np.sort(times[:, 0] / times[:, 1])
        mine, least = np.median(times, axis=0)
        print(
            f"{name}: update {mine:.0f} us, its matrix products {least:.0f} us,"
            f" ratio {np.median(ratio):.2f} [{ratio[0]:.2f}, {ratio[-1]:.2f}]"
        )


def timed(call: Callable[[], Any]) -> float:
    """Microseconds of one call."""
    start = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - start) / CALLS * 1e6


def update(width: int, batch: int) -> Callable[[], Any]:
    """Draws a batch from a full buffer and learns from it."""
    stream, random = filled(), np.random.default_rng(0)

    def view(stored: Any, indices: Any, weight: Any, gamma: Any) -> Any:
        return transitions(stored, indices, weight, gamma, 1, ACTIONS)

    sampler = Uniform(CAPACITY, batch, 1).sampler(stream, view, np.array([0.99]))
    bound = (-1.0,) * INPUTS, (1.0,) * INPUTS
    agent = Agent(
        Spaces((INPUTS,), *bound, False, (ACTIONS,), (0,), False),
        Mlp([width, width], False, False, False, False, 0.5),
        Scalar(),
        Dqn(Loss.huber, None),
        Adam(1e-4, Schedule.constant, 0.9, 0.999, 1e-8),
    )
    learner = Learner([agent], [random], torch.float32, torch.device("cpu"), sampler, AheadOfTime())
    noise = Randomness([0], Purpose.noise)
    return lambda: learner.update(
        sampler.draw(lambda n: random.random((1, n)), [0.0]), noise, [1.0]
    )


def products(width: int, batch: int) -> Callable[[], Any]:
    """Both networks forward and one backward: 6 and 5 matrix products."""

    def compute(weights: tuple[Tensor, ...], hidden: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        first, second, last = weights
        x, h, d = hidden
        forward = (x @ first, h @ second, h @ last)
        backward = (d @ last.T, h.T @ d, h @ second.T, h.T @ h, x.T @ h)
        # The target network's products, on numbers of their own so that none is left out.
        return (*forward, (x + 1) @ first, (h + 1) @ second, (h + 2) @ last, *backward)

    shapes = (INPUTS, width), (width, width), (width, ACTIONS)
    weights = tuple(torch.randn(shape) for shape in shapes)
    hidden = torch.randn(batch, INPUTS), torch.randn(batch, width), torch.randn(batch, ACTIONS)
    run = AheadOfTime()(compute, (weights,))
    return lambda: run(hidden)


def filled() -> Stream:
    """A full buffer of random transitions."""
    random, mask = np.random.default_rng(0), np.ones((1, 1, ACTIONS), bool)
    obs = random.normal(size=(1, 1, INPUTS)).astype(np.float32)
    stream, false = Stream(CAPACITY, obs, mask, False, 0, 1), np.zeros((1, 1), bool)
    for _ in range(stream.slots):
        after = random.normal(size=obs.shape).astype(np.float32)
        step = Step(np.ones((1, 1)), false, false, after, mask, after, mask)
        stream.append(random.integers(ACTIONS, size=(1, 1)), step)
    return stream


if __name__ == "__main__":
    main()
