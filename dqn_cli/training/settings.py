"""Settings: the parts and numbers of one run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, is_dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any

from dqn_cli.agent.annealing import AnnealConfig
from dqn_cli.agent.augmentation import Augment
from dqn_cli.agent.auxiliary import Auxiliary
from dqn_cli.agent.clock import Clock
from dqn_cli.agent.exploration import Exploration
from dqn_cli.agent.heads import Head
from dqn_cli.agent.networks import Network
from dqn_cli.agent.optimizers import Optimizer
from dqn_cli.agent.target_networks import TargetNetwork
from dqn_cli.agent.update_rules import UpdateRule
from dqn_cli.envs.env_config import EnvConfig
from dqn_cli.loggers.logger import Logger
from dqn_cli.ranges import Count, Natural, NonNegative, Probability, Real
from dqn_cli.replay.samplers import Replay


class Precision(Enum):
    """Precision of parameters and stored observations."""

    float32 = "float32"
    float64 = "float64"


class Device(Enum):
    """Device that the network is computed on."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"
    mps = "mps"


@dataclass
class EvaluationEnvConfig:
    """Differences between the environment of evaluations and that of training."""

    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass
class EvaluationConfig:
    """Greedy evaluation during a run."""

    every: Count | None
    episodes: Count
    max_episode_steps: Count
    env: EvaluationEnvConfig = field(default_factory=EvaluationEnvConfig)


@dataclass
class StopConfig:
    """What ends a run before its steps and episodes do: greedy evaluations, or a pause."""

    at: Real | None = None
    patience: Count | None = None
    step: Count | None = None


@dataclass
class CheckpointConfig:
    """Checkpoints to resume from."""

    every: Count
    keep: Natural
    replay: bool


@dataclass
class LogConfig:
    """Rows of metrics."""

    every: Count
    info: list[str] = field(default_factory=list)


@dataclass
class ResetConfig:
    """Resets of the network's last layers, of the others by a share, and of dormant units."""

    every: Count | None
    shrink: Probability = 0.0
    dormant: Count | None = None
    threshold: NonNegative = 0.025


@dataclass
class DataConfig:
    """Logged transitions that a run learns from."""

    path: str | None = None
    keep: bool = True
    share: Probability = 0.25
    pretrain: Natural = 0


@dataclass
class Settings:
    """All settings of one run."""

    env: EnvConfig
    network: Network
    head: Head
    update: UpdateRule
    target: TargetNetwork
    exploration: Exploration
    replay: Replay
    optimizer: Optimizer
    reset: ResetConfig
    eval: EvaluationConfig
    checkpoint: CheckpointConfig
    log: LogConfig
    steps: Natural
    episodes: Count | None
    learning_starts: Natural
    train_every: Count
    updates_per_train: Count
    gamma: Probability
    seed: Natural
    dtype: Precision
    device: Device
    threads: int | str
    compile: bool | str
    stop: StopConfig = field(default_factory=StopConfig)
    anneal: AnnealConfig = field(default_factory=AnnealConfig)
    augment: Augment = field(default_factory=Augment)  # a subclass, once composed
    auxiliary: dict[str, Auxiliary] = field(default_factory=dict)  # by choice
    logger: dict[str, Logger] = field(default_factory=dict)  # by the names of their choices
    init: str | None = None  # checkpoint that a new run starts from
    init_optimizer: bool = False
    init_replay: bool = False
    tuned: str | None = None  # file of configs/tuned that set numbers
    data: DataConfig = field(default_factory=DataConfig)
    video: bool = False  # films of the greedy policy at some evaluations

    @property
    def evaluation_env(self) -> EnvConfig:
        """Environment of evaluations, with their own arguments."""
        kwargs = self.env.kwargs | self.eval.env.kwargs
        return replace(self.env, kwargs=kwargs)

    @property
    def modules(self) -> dict[str, str]:
        """Modules of the user's own code, by the value of the key that names each."""
        return self.env.modules | self.network.modules

    @cached_property
    def horizon(self) -> Clock:
        """Expected clock at the end of the run."""
        trainings = max(self.steps - self.learning_starts, 0) // self.train_every
        return Clock(self.steps, trainings * self.updates_per_train, self.episodes or 0)

    @property
    def longest_return(self) -> int:
        """Most rewards that a return sums at any time."""
        return max(self.replay.n_step, int(self.anneal.n_step.start or 0))

    def in_steps(self, clock: Clock) -> Clock:
        """Return a clock before the first step, with the steps that its updates would take."""
        return clock._replace(steps=clock.updates * self.train_every // self.updates_per_train)


def plain(part: Any) -> Any:
    """Return settings as plain data; a part is a dict with its type's name, a choice a string."""
    if is_dataclass(part):
        values = {entry.name: plain(getattr(part, entry.name)) for entry in fields(part)}
        return {"type": type(part).__name__} | values
    if isinstance(part, Enum):
        return part.name
    if isinstance(part, dict):
        return {key: plain(value) for key, value in part.items()}
    return [plain(item) for item in part] if isinstance(part, (list, tuple)) else part
