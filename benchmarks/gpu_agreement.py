"""Agreement of a device with the CPU: values, loss, gradient, and the parameters learned."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from gpu_agents import ACTIONS, FRAMES, nature
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.batch import Batch
from dqn_cli.agent.categorical import C51
from dqn_cli.agent.ensembles import Ensemble
from dqn_cli.agent.expectiles import Expectile
from dqn_cli.agent.fractions import Fqf
from dqn_cli.agent.heads import Head, Loss, Scalar
from dqn_cli.agent.optimizers import RmsProp, Schedule
from dqn_cli.agent.quantiles import Iqn, Qr
from dqn_cli.agent.spaces import PICTURE, Part, Spaces
from dqn_cli.agent.update_rules import Double, Dqn, Munchausen, UpdateRule
from dqn_cli.training.learner import Learner
from dqn_cli.training.random_inputs import draw_random_inputs
from dqn_cli.training.randomness import Purpose, Randomness

SIDE, UPDATES = 44, 10
SPACES = Spaces((Part("", PICTURE, (SIDE, SIDE), (0,), (255,), True),), ACTIONS, FRAMES)
HEADS: dict[str, tuple[Head, UpdateRule]] = {
    "scalar": (Scalar(Loss.huber), Double()),
    "c51": (C51(51, -10, 10), Double()),
    "qr": (Qr(51), Munchausen(0.9, 0.03, -1.0)),
    "iqn": (Iqn(8, 64), Munchausen(0.9, 0.03, -1.0)),
    "fqf": (Fqf(8, 64, 1e-2, 0.0), Double()),
    "expectile": (Expectile(11), Double()),
    "ensemble": (Ensemble(10, Loss.huber, 1.0, mixture=False), Double()),
    "mixture": (Ensemble(10, Loss.huber, None, mixture=True), Dqn()),
}
# Largest differences, relative to the largest value of the CPU. Float32 is computed without TF32.
LIMITS = {torch.float32: 1e-3, torch.float64: 1e-9}


class Outcome(NamedTuple):
    """What is compared."""

    values: Tensor  # action values
    loss: Tensor
    gradient: Tensor
    learned: Tensor  # parameters after some updates


def measure_agreement(device: str, small: bool) -> Iterator[dict[str, Any]]:
    """Yield the differences for each head and precision."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    for name in HEADS:
        for dtype, limit in LIMITS.items():
            outcomes = [outcome(name, dtype, where, small) for where in ("cpu", device)]
            differences = compare(*outcomes)
            yield {
                "head": name,
                "dtype": str(dtype).removeprefix("torch."),
                "agrees": all(value <= limit for value in differences.values()),
            } | differences


def compare(expected: Outcome, own: Outcome) -> dict[str, float]:
    """Return the largest difference of each field, relative to the largest value expected."""
    differences = {}
    for name, right, mine in zip(Outcome._fields, expected, own, strict=True):
        largest = float(right.abs().max().clamp(min=1e-12))
        differences[name] = float((mine.cpu() - right).abs().max()) / largest
    return differences


def outcome(name: str, dtype: torch.dtype, device: str, small: bool) -> Outcome:
    """Compute all that is compared, on one device."""
    head, update = HEADS[name]
    optimizer = RmsProp(2.5e-4, Schedule.constant, 10.0, 0.95, 3.125e-3, 0.0, True)
    sizes = {"channels": [2, 2, 2], "widths": [8]} if small else {}
    network = nature(dueling=True, noisy=True, **sizes)
    agent = Agent(SPACES, network, head, update, optimizer)
    where, weights = torch.device(device), Randomness([0], Purpose.weights)
    learner, noise = Learner([agent], weights, dtype, where), Randomness([0], Purpose.noise)
    batch = made_up_batch(4 if small else 32)
    state = np.zeros((1, len(batch.action[0]), 0), np.float32)
    values, _ = learner.act(batch.obs.numpy(), state, noise)
    rows = batch.action.shape[1]
    random = draw_random_inputs(agent.model, rows, noise, learner.state.parameters[:, 0])
    parameters = learner.state.parameters[0].clone().requires_grad_()
    placed = Batch(*(x[0].to(where, dtype if x.is_floating_point() else None) for x in batch))
    placed = placed._replace(obs=placed.obs.to(dtype), next_obs=placed.next_obs.to(dtype))
    drawn = type(random)(*(x[0] for x in random))
    loss, *_ = agent.loss(parameters, learner.state.target[0], placed, drawn)
    (gradient,) = torch.autograd.grad(loss, parameters)
    for _ in range(2 if small else UPDATES):
        learner.update_on_batch(batch, noise, [1.0])
        learner.polyak_update([0.1])
    learned = learner.state.parameters
    return Outcome(torch.from_numpy(values), loss.detach(), gradient, learned)


def made_up_batch(rows: int) -> Batch:
    """Return a batch of one member."""
    random = np.random.default_rng(0)

    def frames() -> Tensor:
        return torch.from_numpy(random.integers(0, 256, (1, rows, FRAMES, SIDE, SIDE), np.uint8))

    def legal() -> Tensor:
        mask = random.random((1, rows, ACTIONS)) < 0.7
        mask[..., 0] = True
        return torch.from_numpy(mask)

    return Batch(
        obs=frames(),
        action=torch.zeros(1, rows, dtype=torch.int64),
        mask=legal(),
        reward=torch.from_numpy(random.normal(size=(1, rows))),
        discount=torch.full((1, rows), 0.99, dtype=torch.float64),
        next_obs=frames(),
        next_mask=legal(),
        weight=torch.from_numpy(random.random((1, rows))),
        logged=torch.zeros(1, rows, dtype=torch.bool),
        starts=torch.zeros(1, rows, dtype=torch.bool),
    )
