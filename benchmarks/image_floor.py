"""Compare an update on images with its convolutions and matrix products alone, as oneDNN does them.

python benchmarks/image_floor.py [ROUNDS]

Networks are MinAtar's (10 by 10 pixels of 4 planes) and Nature's (84 by 84 of 4 frames), with
batches of 32 and one thread. The update is compiled as in a long run: it samples, evaluates both
networks, goes back through one of them and takes Adam's step. Both sides alternate.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.atari_cnns import Nature
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.minatar_cnn import MinAtarCnn
from dqn_cli.agent.networks import Network
from dqn_cli.agent.optimizers import Adam, Schedule
from dqn_cli.agent.spaces import PICTURE, Part, Spaces
from dqn_cli.agent.update_rules import Dqn
from dqn_cli.compiling.compiled_learner import CompiledLearner
from dqn_cli.compiling.compiler import AheadOfTime
from dqn_cli.replay.batches import BatchSpec
from dqn_cli.replay.samplers import ReplayDevice, Uniform
from dqn_cli.replay.stream import EnvStep, Stream
from dqn_cli.training.learner import Learner
from dqn_cli.training.randomness import Purpose, Randomness

BATCH, ACTIONS, STORED = 32, 6, 500
SWITCHES: dict[str, Any] = dict.fromkeys(("layer_norm", "spectral_norm", "dueling", "noisy"), False)


class Task(NamedTuple):
    """A network, its observations, and its layers as oneDNN takes them."""

    network: Network
    spaces: Spaces
    kernels: Sequence[tuple[int, int, int, int]]  # inputs, outputs, side, stride
    products: Sequence[tuple[int, int]]  # inputs, outputs
    calls: int  # in one measurement


MINATAR = Task(
    MinAtarCnn(widths=[128], sigma=0.5, channels=[16], **SWITCHES),
    Spaces((Part("", PICTURE, (10, 10, 4), (0.0,), (1.0,), True),), ACTIONS),
    [(4, 16, 3, 1)],
    [(1024, 128), (128, ACTIONS)],
    100,
)
NATURE = Task(
    Nature(widths=[512], sigma=0.5, channels=[32, 64, 64], bfloat16=False, **SWITCHES),
    Spaces((Part("", PICTURE, (84, 84), (0.0,), (255.0,), True),), ACTIONS, 4),
    [(4, 32, 8, 4), (32, 64, 4, 2), (64, 64, 3, 1)],
    [(3136, 512), (512, ACTIONS)],
    5,
)


def main() -> None:
    torch.set_num_threads(1)
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 9
    for name, task in {"MinAtar": MINATAR, "Nature": NATURE}.items():
        ours, floor = make_update(task), make_products(task)
        ours(), floor()
        times = np.array(
            [[seconds(call, task.calls) for call in (ours, floor)] for _ in range(rounds)]
        )
        ratio = np.sort(times[:, 0] / times[:, 1])
        mine, least = np.median(times, axis=0) * 1e3
        print(
            f"{name}: update {mine:.2f} ms, its convolutions and products {least:.2f} ms, ratio"
            f" {np.median(ratio):.2f} [{ratio[0]:.2f}, {ratio[-1]:.2f}]"
        )


def seconds(call: Callable[[], Any], calls: int) -> float:
    """Return the seconds of one call."""
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return (time.perf_counter() - start) / calls


def make_update(task: Task) -> Callable[[], Any]:
    """Return a function that samples a batch and updates the agent, as runs do."""
    random, frames = np.random.default_rng(0), task.spaces.frames
    shape = (1, 1, *task.spaces.observation_shape)
    mask, no = np.ones((1, 1, ACTIONS), bool), np.zeros((1, 1), bool)

    def drawn() -> Any:
        return random.integers(0, 2, shape, np.uint8)

    stream = Stream(STORED, drawn(), mask, False, 0, 1, frames, 0, "float32")
    for _ in range(STORED):
        obs = drawn()
        step = EnvStep(np.ones((1, 1)), no, no, no, obs, mask, obs, mask)
        stream.append(random.integers(ACTIONS, size=(1, 1)), step)
    replay = Uniform(STORED, BATCH, 1, ReplayDevice.cpu)
    sampler = replay.sampler(stream, BatchSpec(1, ACTIONS, frames, False), np.array([0.99]))
    adam = Adam(1e-4, Schedule.constant, None, 0.9, 0.999, 1e-8)
    agent = Agent(task.spaces, task.network, Scalar(Loss.huber), Dqn(), adam)
    learner: Learner = CompiledLearner(
        [agent], Randomness([0], Purpose.weights), torch.float32, torch.device("cpu"), sampler,
        AheadOfTime(),
    )  # fmt: skip
    noise, uniform = (Randomness([0], purpose) for purpose in (Purpose.noise, Purpose.replay))
    return lambda: learner.update(sampler.draw(uniform.uniform, [0.5]), noise, [1.0])


def make_products(task: Task) -> Callable[[], Any]:
    """Return a function of the layers of both networks, and of the gradients of one."""
    kernels = [torch.randn(o, i, k, k, requires_grad=True) for i, o, k, _ in task.kernels]
    matrices = [torch.randn(i, o, requires_grad=True) for i, o in task.products]
    side = task.spaces.frame_shape[0]
    images = torch.randn(BATCH, task.kernels[0][0], side, side)
    images = images.contiguous(memory_format=torch.channels_last)

    def forward() -> Tensor:
        x = images
        for weight, (*_, stride) in zip(kernels, task.kernels, strict=True):
            x = F.conv2d(x, weight, None, stride)
        x = x.flatten(1)  # [batch, features]
        for matrix in matrices:
            x = x @ matrix
        return x

    def call() -> None:
        with torch.no_grad():
            forward()
        torch.autograd.grad(forward(), [*kernels, *matrices], torch.ones(BATCH, ACTIONS))

    return call


if __name__ == "__main__":
    main()
