"""Building the replay of a run: its stream, its samplers, and the data that it was given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from functools import partial
from typing import NamedTuple, TypeVar

import numpy as np

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.recurrent import Recurrent
from dqn_cli.agent.spaces import Spaces
from dqn_cli.agent.traces import TraceOptimizer
from dqn_cli.data.load import LoadedData, load_data
from dqn_cli.data.transitions import Task
from dqn_cli.envs.environments import Environments
from dqn_cli.memory import check_data_memory, check_memory
from dqn_cli.replay.batches import BatchSpec
from dqn_cli.replay.logged import hold_data, put_first
from dqn_cli.replay.mixed import MixedSampler, logged_samples
from dqn_cli.replay.samplers import Replay, Sampler
from dqn_cli.replay.stream import Stream
from dqn_cli.training.devices import torch_device
from dqn_cli.training.settings import Device, Settings

Part = TypeVar("Part")


class BuiltReplay(NamedTuple):
    """Replay of a run."""

    stream: Stream
    sampler: Sampler[Replay]  # of transitions or sequences
    data_sampler: Sampler[Replay] | None  # of the given data alone


def read_data(settings: Settings, envs: Environments) -> LoadedData | None:
    """Return the data that the settings name, or None if they name none."""
    if settings.data.path is None:
        return None
    task = Task(settings.env, envs.spaces, envs.masked, settings.dtype.name)
    return load_data(settings.data.path, task)


def build_replay(
    settings: Sequence[Settings], envs: Environments, agent: Agent, data: LoadedData | None
) -> BuiltReplay:
    """Build the replay of all members.

    Raises:
        ValueError: It needs more memory than there is.
    """
    structure, network, spaces = settings[0], agent.network, envs.spaces
    replay = merge_parts([member.replay for member in settings])
    if isinstance(network, Recurrent):
        replay = replace(replay, batch_size=max(replay.batch_size // network.length, 1))
    spec = batch_spec(structure, spaces, agent)
    device = torch_device(Device[replay.observation_device.name], key="replay.device").type
    make_stream = partial(
        Stream,
        masked=envs.masked,
        state_size=agent.model.state_size,
        window=spec.window,
        frames=spaces.frames,
        byte_size=spaces.byte_size,
        dtype=structure.dtype.name,
        device=device,
    )
    # The memory is computed from a stream of one transition, because allocating it may fail.
    smallest = make_stream(1, envs.obs, envs.mask)
    slots = smallest.slots + replay.capacity // smallest.envs
    check_memory(replay.capacity, smallest.nbytes * slots // smallest.slots, device)
    stream = make_stream(replay.capacity, envs.obs, envs.mask)
    gamma = np.array([member.gamma for member in settings])
    sampler = replay.sampler(stream, spec, gamma)
    if data is None:
        return BuiltReplay(stream, sampler, None)
    transitions, summary = data
    if not structure.data.keep:
        put_first(stream, transitions)
        return BuiltReplay(stream, sampler, sampler)
    slot_bytes = smallest.nbytes // (smallest.slots * smallest.envs)  # of all members
    check_data_memory(summary.path, slot_bytes * transitions.slots, device)
    held = make_stream(transitions.slots, envs.obs[:, :1], envs.mask[:, :1])
    hold_data(held, transitions)
    logged = replay.sampler(held, spec._replace(logged=True), gamma)
    count = logged_samples(structure.data.share, replay.batch_size)
    alone = MixedSampler(sampler, logged, replay.batch_size)
    return BuiltReplay(stream, MixedSampler(sampler, logged, count), alone)


def batch_spec(settings: Settings, spaces: Spaces, agent: Agent) -> BatchSpec:
    """Return what the batches of a run hold."""
    env, network = settings.env, agent.network
    spec = BatchSpec(
        settings.longest_return,
        spaces.actions,
        spaces.frames,
        env.preprocess.clip_rewards,
        env.reward_scale,
        starts=isinstance(agent.optimizer, TraceOptimizer),
        anneals=settings.anneal.n_step.start is not None,
        following=max((part.following for part in agent.auxiliary.values()), default=0),
    )
    if isinstance(network, Recurrent):
        return spec._replace(burn_in=network.burn_in, length=network.length)
    return spec


def merge_parts(parts: Sequence[Part]) -> Part:
    """Merge the members' parts into one that has arrays [members, 1] of numbers that differ."""
    differing = {}
    for field in fields(parts[0]):  # type: ignore[arg-type]
        values = [getattr(part, field.name) for part in parts]
        are_numbers = all(isinstance(value, (int, float)) for value in values)
        if are_numbers and any(value != values[0] for value in values):
            differing[field.name] = np.array(values)[:, None]  # [members, 1]
    return replace(parts[0], **differing) if differing else parts[0]  # type: ignore[type-var]
