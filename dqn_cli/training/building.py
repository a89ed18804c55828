"""Building what a run is made of from its settings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.recurrent import Recurrent
from dqn_cli.agent.spaces import Spaces
from dqn_cli.envs.seeding import Place, episode_seeds
from dqn_cli.envs.vector import Environments
from dqn_cli.replay.samplers import Replay, Sampler
from dqn_cli.replay.stream import Stream
from dqn_cli.replay.views import View, sequences, transitions
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
    agent = agent_for(settings, envs.spaces)
    dtype = getattr(torch, settings.dtype.name)
    weights = list(Randomness(seeds, Purpose.weights))
    learner = Learner([agent], weights, dtype, torch_device(settings.device))
    stream, sampler = _memory(settings, envs, agent)
    return agent, Run(
        envs=envs,
        stream=stream,
        sampler=sampler,
        learner=learner,
        state=np.zeros((*envs.mask.shape[:2], agent.model.state_size), np.float32),
        exploration=Randomness(seeds, Purpose.exploration),
        replay=Randomness(seeds, Purpose.replay),
        noise=Randomness(seeds, Purpose.noise),
        resets=Randomness(seeds, Purpose.resets),
    )


def agent_for(settings: Settings, spaces: Spaces) -> Agent:
    """The agent that the settings describe, for these spaces."""
    return Agent(spaces, settings.network, settings.head, settings.update, settings.optimizer)


def _memory(settings: Settings, envs: Environments, agent: Agent) -> tuple[Stream, Sampler[Replay]]:
    """The stream, and what draws from it: transitions, or sequences for a recurrent network."""
    replay, network = settings.replay, settings.network
    view: View = transitions
    window = replay.n_step
    if isinstance(network, Recurrent):
        view = partial(sequences, burn_in=network.burn_in, length=network.length)
        window += network.burn_in + network.length - 1
        replay = replace(replay, batch_size=max(replay.batch_size // network.length, 1))
    size = agent.model.state_size
    args = (replay.capacity, replay.n_step, envs.obs, envs.mask, envs.masked, size, window)
    stream = Stream(*args)
    return stream, replay.sampler(stream, view)


def torch_device(device: Device) -> torch.device:
    """The device asked for, `auto` being the CPU; ValueError if it is not there."""
    wanted = Device.cpu if device is Device.auto else device
    if not _AVAILABLE[wanted]():
        raise ValueError(f"device={wanted.name}: there is no such device here; use device=cpu")
    return torch.device(wanted.name)
