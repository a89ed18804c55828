"""Agents of published Atari experiments, which play made-up frames without any environment.

They need PyTorch and NumPy alone. A test compares them with configs/experiment/.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.atari_cnns import AtariCnn, Impala, Nature
from dqn_cli.agent.categorical import C51
from dqn_cli.agent.convolutional import NormAxes
from dqn_cli.agent.heads import Loss, Scalar
from dqn_cli.agent.initialization import Initialization
from dqn_cli.agent.optimizers import Adam, RAdam, RmsProp, Schedule
from dqn_cli.agent.quantiles import Iqn
from dqn_cli.agent.spaces import PICTURE, Part, Spaces
from dqn_cli.agent.update_rules import Double, Dqn, Munchausen
from dqn_cli.compiling.compiled_learner import CompiledLearner
from dqn_cli.compiling.compiler import Compiler
from dqn_cli.replay.batches import BatchSpec
from dqn_cli.replay.prioritised import Prioritised, Priority
from dqn_cli.replay.rollouts import Rollout
from dqn_cli.replay.samplers import Replay, ReplayDevice, Uniform
from dqn_cli.replay.stream import EnvStep, Stream
from dqn_cli.training.learner import Learner
from dqn_cli.training.randomness import Purpose, Randomness

SIDE, FRAMES, ACTIONS = 84, 4, 6
STORED = 2_000  # transitions that a batch is sampled from
ROLLOUT_STEPS = 32  # of PQN, between two trainings
SPACES = Spaces((Part("", PICTURE, (SIDE, SIDE), (0,), (255,), True),), ACTIONS, FRAMES)


class Experiment(NamedTuple):
    """What a published experiment computes."""

    agent: Agent
    replay: Replay
    gamma: float
    envs: int
    train_every: int  # steps
    updates: int  # of each training


def nature(**changed: Any) -> Nature:
    """Return Nature's network of published sizes."""
    plain = dict.fromkeys(("layer_norm", "spectral_norm", "dueling", "noisy", "bfloat16"), False)
    sizes = {"widths": [512], "channels": [32, 64, 64], "sigma": 0.5}
    return Nature(**(plain | sizes | changed))


def nature_dqn() -> Experiment:
    """Return experiment=nature_dqn."""
    optimizer = RmsProp(2.5e-4, Schedule.constant, None, 0.95, 3.125e-3, 0.0, True)
    agent = Agent(SPACES, nature(), Scalar(Loss.huber), Dqn(), optimizer)
    return Experiment(agent, Uniform(STORED, 32, 1, ReplayDevice.cpu), 0.99, 1, 4, 1)


def rainbow() -> Experiment:
    """Return experiment=rainbow_atari."""
    optimizer = Adam(6.25e-5, Schedule.constant, 10.0, 0.9, 0.999, 1.5e-4)
    network = nature(dueling=True, noisy=True)
    agent = Agent(SPACES, network, C51(51, -10, 10), Double(), optimizer)
    numbers = (0.5, 0.4, 1.0, Priority.loss, 1e-6)
    replay = Prioritised(STORED, 32, 3, ReplayDevice.cpu, *numbers)
    return Experiment(agent, replay, 0.99, 1, 4, 1)


def btr() -> Experiment:
    """Return experiment=btr."""
    optimizer = Adam(1e-4, Schedule.constant, 10.0, 0.9, 0.999, 1.953125e-5)
    sizes = {"widths": [512], "channels": [16, 32, 32], "scale": 2, "pool": 6, "sigma": 0.5}
    flags = {"layer_norm": False, "bfloat16": False}
    parts = dict.fromkeys(("spectral_norm", "dueling", "noisy"), True)
    network = Impala(**sizes, **flags, **parts)  # type: ignore[arg-type]
    agent = Agent(
        SPACES, network, Iqn(8, 64, pairwise=True), Munchausen(0.9, 0.03, -1.0), optimizer
    )
    numbers = (0.2, 0.4, 1.0, Priority.td_error, 1e-6)
    replay = Prioritised(STORED, 256, 3, ReplayDevice.cpu, *numbers)
    return Experiment(agent, replay, 0.997, 64, 64, 1)


def pqn(games: int = 128) -> Experiment:
    """Return experiment=pqn_atari; a rollout has 32 minibatches for any number of games."""
    optimizer = RAdam(2.5e-4, Schedule.constant, 20.0, 0.9, 0.999, 1e-8)
    network = nature(
        layer_norm=True, norm_axes=NormAxes.pixel, initialization=Initialization.he_normal
    )
    agent = Agent(SPACES, network, Scalar(Loss.squared), Dqn(), optimizer)
    rollout = ROLLOUT_STEPS * games
    replay = Rollout(2 * rollout, rollout // 32, 1, 0.65)
    return Experiment(agent, replay, 0.99, games, rollout, 64)


EXPERIMENTS: dict[str, Callable[[], Experiment]] = {
    "nature_dqn": nature_dqn,
    "rainbow_atari": rainbow,
    "btr": btr,
} | {f"pqn_atari, {games} games": partial(pqn, games) for games in (8, 64, 128, 256, 1024)}


SMALL = [name for name in EXPERIMENTS if "games" not in name] + ["pqn_atari, 8 games"]


def shrunk(experiment: Experiment) -> Experiment:
    """Return an experiment of `SMALL` with few channels and small batches, for a trial."""
    agent, replay = experiment.agent, experiment.replay
    assert isinstance(agent.network, AtariCnn)
    network = replace(agent.network, channels=[2, 2, 2], widths=[8])
    changed = experiment._replace(agent=replace(agent, network=network))
    if isinstance(replay, Rollout):
        return changed._replace(replay=replace(replay, batch_size=4), updates=2)
    small = replace(replay, capacity=60, batch_size=4)
    return changed._replace(replay=small, envs=min(experiment.envs, 2), train_every=4)


class Player:
    """An agent that acts on made-up frames, stores them and learns from them."""

    def __init__(
        self,
        experiment: Experiment,
        device: str,
        compiler: Compiler | None = None,
        replay_device: str = "cpu",
    ) -> None:
        self.experiment = experiment
        agent, replay, gamma, envs, *_ = experiment
        random = np.random.default_rng(0)
        shape = (1, envs, FRAMES, SIDE, SIDE)
        self._frames = random.integers(0, 256, (4, *shape), np.uint8)
        self._mask, self._no = np.ones((1, envs, ACTIONS), bool), np.zeros((1, envs), bool)
        self._reward = random.choice([-1.0, 0.0, 1.0], (1, envs)).astype(np.float32)
        spec = BatchSpec(replay.n_step, ACTIONS, FRAMES, True)
        first = (self._frames[0], self._mask, False, 0, spec.window, FRAMES, 0, "float32")
        self.stream = Stream(replay.capacity, *first, replay_device)
        self.sampler = replay.sampler(self.stream, spec, np.array([gamma]))
        self._noise, self._uniform = (Randomness([0], p) for p in (Purpose.noise, Purpose.replay))
        weights = Randomness([0], Purpose.weights)
        arguments = ([agent], weights, torch.float32, torch.device(device), self.sampler)
        self.learner = (
            CompiledLearner(*arguments, compiler=compiler) if compiler else Learner(*arguments)
        )
        self._state, self._count = np.zeros((1, envs, 0), np.float32), 0
        rollout = isinstance(replay, Rollout)
        for _ in range(ROLLOUT_STEPS if rollout else replay.capacity // envs):
            self._store(np.zeros((1, envs), np.int64))

    def act(self) -> None:
        """Choose an action in each environment, and store its made-up result."""
        obs = self._frames[self._count % len(self._frames)]
        q, _ = self.learner.act(obs, self._state, self._noise)
        self._store(q.argmax(-1))

    def start_training(self) -> None:
        """Prepare a round of updates."""
        self.sampler.on_rollout(lambda obs: self.learner.values(obs, self._noise))

    def update(self) -> None:
        """Take one gradient step."""
        draw = self.sampler.draw(self._uniform.uniform, [0.5])
        self.learner.update(draw, self._noise, [1.0])

    def act_and_train(self) -> None:
        """Act until a training is due, and train."""
        for _ in range(self.experiment.train_every // self.experiment.envs):
            self.act()
        self.start_training()
        for _ in range(self.experiment.updates):
            self.update()

    def _store(self, action: Any) -> None:
        self._count += 1
        obs = self._frames[self._count % len(self._frames)]
        no = self._no
        self.stream.append(
            action, EnvStep(self._reward, no, no, no, obs, self._mask, obs, self._mask)
        )
