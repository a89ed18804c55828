"""Building what a run is made of from its settings."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.clock import Clock
from dqn_cli.agent.recurrent import Recurrent
from dqn_cli.agent.spaces import Spaces
from dqn_cli.compiling.compiler import Compiler, uncompiled
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.episode_seeds import EnvSnapshot, episode_seeds
from dqn_cli.hardware import available_cores
from dqn_cli.memory import check_memory
from dqn_cli.replay.batches import Look, View, sequences, transitions
from dqn_cli.replay.samplers import Replay, Sampler
from dqn_cli.replay.stream import Stream
from dqn_cli.training.learner import Learner
from dqn_cli.training.loop import Run, in_step
from dqn_cli.training.members import merge_parts
from dqn_cli.training.randomness import Purpose, Randomness, RandomStreams
from dqn_cli.training.settings import Device, Settings

_AVAILABLE: dict[Device, Callable[[], bool]] = {
    Device.cpu: lambda: True,
    Device.cuda: torch.cuda.is_available,
    Device.mps: torch.backends.mps.is_available,
}

# Compiling takes some 15 s, which compiled updates win back at about a millisecond each, or two
# where members train side by side.
WORTH_COMPILING = 20_000
WORTH_COMPILING_TOGETHER = 10_000


def build_run(
    settings: Sequence[Settings],
    places: Sequence[EnvSnapshot] | None = None,
    compiler: Compiler = uncompiled,
) -> tuple[list[Agent], Run]:
    """A run that is about to start, with a member for each of these settings of one structure.

    Its environments stand at their places, those of the first member first. Raises ValueError if a
    part can't serve the environment, EnvironmentFailure if there is none.
    """
    structure, seeds = settings[0], [each.seed for each in settings]
    purpose = Purpose.environment.value
    seed_ofs = [
        [episode_seeds(seed, purpose, env) for env in range(structure.env.num_envs)]
        for seed in seeds
    ]
    envs = Environments(structure.env, seed_ofs, structure.dtype.name, places)
    try:
        return _run(settings, envs, compiler)
    except BaseException:
        envs.close()
        raise


def _run(
    settings: Sequence[Settings], envs: Environments, compiler: Compiler
) -> tuple[list[Agent], Run]:
    structure, seeds = settings[0], [each.seed for each in settings]
    agents = [agent_for(each, envs.spaces) for each in settings]
    dtype = getattr(torch, structure.dtype.name)
    weights = list(Randomness(seeds, Purpose.weights))
    stream, sampler = _memory(settings, envs, agents[0])
    device = torch_device(structure.device, structure.network.is_large)
    learner = Learner(agents, weights, dtype, device, sampler, compiler)
    return agents, Run(
        envs=envs,
        stream=stream,
        sampler=sampler,
        learner=learner,
        exploration=merge_parts([each.exploration for each in settings]),
        action=np.zeros(envs.mask.shape[:2], np.int64),
        state=np.zeros((*envs.mask.shape[:2], agents[0].model.state_size), structure.dtype.name),
        random=RandomStreams.of(seeds),
        clocks=[Clock()] * len(settings),
        learning_began=[Clock()] * len(settings),
        in_step=in_step(settings),
    )


def worth_compiling(settings: Settings, members: int = 1) -> bool:
    """Whether the updates run as compiled code, by the settings alone; auto: if it will pay."""
    if settings.compile != "auto":
        return settings.compile is True
    enough = WORTH_COMPILING if members == 1 else WORTH_COMPILING_TOGETHER
    return can_compile(settings) and settings.horizon.updates >= enough


def thread_count(settings: Settings, members: int) -> int:
    """CPU threads: as set, or auto: two where a lone run sees images, else one."""
    if settings.threads != "auto":
        return int(settings.threads)
    # Runs at once on the same cores wait for each other's threads: small products then take eight
    # times as long, more than a lone run gains. AsyncEnvs of a population share the cores too.
    alone = members == 1 and multiprocessing.parent_process() is None
    return min(2, available_cores()) if alone and settings.network.is_large else 1


def can_compile(settings: Settings) -> bool:
    """Whether there are compiled updates for the device that the settings ask for."""
    return torch_device(settings.device, settings.network.is_large).type == "cpu"


def agent_for(settings: Settings, spaces: Spaces) -> Agent:
    """The agent that the settings describe, for these spaces."""
    return Agent(spaces, settings.network, settings.head, settings.update, settings.optimizer)


def _memory(
    settings: Sequence[Settings], envs: Environments, agent: Agent
) -> tuple[Stream, Sampler[Replay]]:
    """The stream, and what draws from it: transitions, or sequences for a recurrent network."""
    replay, network = merge_parts([each.replay for each in settings]), agent.network
    window, spaces = replay.n_step, envs.spaces
    clip = settings[0].env.preprocess.clip_rewards
    look = Look(replay.n_step, spaces.actions, spaces.frames, clip)
    view: View = partial(transitions, look=look)
    if isinstance(network, Recurrent):
        burn_in, length = network.burn_in, network.length
        view = partial(sequences, look=look, burn_in=burn_in, length=length)
        window += burn_in + length - 1
        replay = replace(replay, batch_size=max(replay.batch_size // length, 1))
    device = torch_device(Device[replay.device.name], key="replay.device").type
    kept = (envs.obs, envs.mask, envs.masked, agent.model.state_size, window, spaces.frames, device)
    # Measured on a stream of one transition: to allocate the real one may be what fails.
    least = Stream(1, *kept)
    slots = least.slots + replay.capacity // least.envs
    check_memory(replay.capacity, least.nbytes * slots // least.slots, device)
    stream = Stream(replay.capacity, *kept)
    return stream, replay.sampler(stream, view, np.array([each.gamma for each in settings]))


def torch_device(device: Device, large: bool = False, key: str = "device") -> torch.device:
    """The device asked for by this key; ValueError if it is not there.

    `auto` is the CPU, but for a `large` network a GPU where there is one.
    """
    wanted = device
    if device is Device.auto:
        wanted = Device.cuda if large and _AVAILABLE[Device.cuda]() else Device.cpu
    if not _AVAILABLE[wanted]():
        raise ValueError(f"{key}={wanted.name}: there is no such device here; use {key}=cpu")
    return torch.device(wanted.name)
