"""Building what a run is made of from its settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from dqn_cli.agent.agent import Agent
from dqn_cli.envs.seeding import Place, episode_seeds
from dqn_cli.envs.vector import Environments
from dqn_cli.replay.stream import Stream
from dqn_cli.training.learner import Learner
from dqn_cli.training.loop import Run
from dqn_cli.training.randomness import Purpose, Randomness
from dqn_cli.training.settings import Device, Settings

_AVAILABLE: dict[Device, Callable[[], bool]] = {
    Device.cpu: lambda: True,
    Device.cuda: torch.cuda.is_available,
    Device.mps: torch.backends.mps.is_available,
}


def build_run(settings: Settings, places: Sequence[Place] | None = None) -> tuple[Agent, Run]:
    """A run of one member that is about to start, its environments at their places.

    Raises ValueError if a part can't serve the environment, EnvironmentFailure if there is none.
    """
    seeds = [settings.seed]
    purpose = Purpose.environment.value
    seed_ofs = [
        [episode_seeds(seed, purpose, env) for env in range(settings.env.num_envs)]
        for seed in seeds
    ]
    envs = Environments(settings.env, seed_ofs, settings.dtype.name, places)
    agent = Agent(envs.spaces, settings.network, settings.head, settings.update, settings.optimizer)
    dtype = getattr(torch, settings.dtype.name)
    weights = list(Randomness(seeds, Purpose.weights))
    learner = Learner([agent], weights, dtype, torch_device(settings.device))
    replay = settings.replay
    stream = Stream(replay.capacity, replay.n_step, envs.obs, envs.mask, envs.masked)
    exploration, sampling = (Randomness(seeds, p) for p in (Purpose.exploration, Purpose.replay))
    return agent, Run(envs, stream, learner, exploration, sampling)


def torch_device(device: Device) -> torch.device:
    """The device asked for, `auto` being the CPU; ValueError if it is not there."""
    wanted = Device.cpu if device is Device.auto else device
    if not _AVAILABLE[wanted]():
        raise ValueError(f"device={wanted.name}: there is no such device here; use device=cpu")
    return torch.device(wanted.name)
