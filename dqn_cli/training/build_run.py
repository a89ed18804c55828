"""Building a run from its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from functools import partial
from typing import TypeAlias, TypeVar

import numpy as np
import torch

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.clock import Clock
from dqn_cli.agent.normalization import Normalization
from dqn_cli.agent.recurrent import Recurrent
from dqn_cli.agent.spaces import Spaces
from dqn_cli.agent.traces import TraceOptimizer
from dqn_cli.data.load import DataSummary, load_data
from dqn_cli.data.transitions import Task
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.episode_seeds import EnvSnapshot, episode_seeds
from dqn_cli.memory import check_data_memory, check_memory
from dqn_cli.replay.batches import BatchSpec
from dqn_cli.replay.logged import Transitions, hold_data, put_first
from dqn_cli.replay.mixed import MixedSampler, logged_samples
from dqn_cli.replay.samplers import Replay, Sampler
from dqn_cli.replay.stream import Stream
from dqn_cli.training.active_heads import ActiveHeads
from dqn_cli.training.devices import torch_device
from dqn_cli.training.learner import Learner
from dqn_cli.training.loop import Run
from dqn_cli.training.normalizer import Normalizer
from dqn_cli.training.progress import is_lockstep
from dqn_cli.training.randomness import Purpose, Randomness, RandomStreams
from dqn_cli.training.reward_normalizer import RewardNormalizer
from dqn_cli.training.settings import Device, Settings

Part = TypeVar("Part")
LearnerFactory: TypeAlias = Callable[
    [
        Sequence[Agent],
        Iterable[np.random.Generator],
        torch.dtype,
        torch.device,
        Sampler[Replay] | None,
    ],
    Learner,
]


def build_run(
    settings: Sequence[Settings],
    snapshots: Sequence[EnvSnapshot] | None = None,
    make_learner: LearnerFactory = Learner,
) -> tuple[list[Agent], Run]:
    """Build a run with a member for each of these settings, which have one structure.

    Args:
        settings: Settings of each member.
        snapshots: States of the environments, those of the first member first; None for new ones.
        make_learner: Class of the learner, or a function that makes one.

    Returns:
        The members' agents, and the run before its next step.

    Raises:
        ValueError: If a part can't be used with the environment.
        EnvironmentFailure: If the environment can't be made.
    """
    structure = settings[0]
    purpose = Purpose.environment.value
    seed_functions = [
        [episode_seeds(member.seed, purpose, env) for env in range(structure.env.num_envs)]
        for member in settings
    ]
    envs = Environments(
        structure.env,
        seed_functions,
        structure.dtype.name,
        snapshots,
        info_names=structure.log.info,
    )
    try:
        return _assemble_run(settings, envs, make_learner)
    except BaseException:
        envs.close()
        raise


def agent_for(settings: Settings, spaces: Spaces) -> Agent:
    """Return the agent that the settings describe, for these spaces."""
    return Agent(
        spaces,
        settings.network,
        settings.head,
        settings.update,
        settings.optimizer,
        settings.env.normalize,
        settings.auxiliary,
        settings.augment,
        settings.target.acts,
        settings.exploration.follows_heads,
    )


def merge_parts(parts: Sequence[Part]) -> Part:
    """Merge the members' parts into one that has arrays [members, 1] of numbers that differ."""
    differing = {}
    for field in fields(parts[0]):  # type: ignore[arg-type]
        values = [getattr(part, field.name) for part in parts]
        are_numbers = all(isinstance(value, (int, float)) for value in values)
        if are_numbers and any(value != values[0] for value in values):
            differing[field.name] = np.array(values)[:, None]  # [members, 1]
    return replace(parts[0], **differing) if differing else parts[0]  # type: ignore[type-var]


def _assemble_run(
    settings: Sequence[Settings], envs: Environments, make_learner: LearnerFactory
) -> tuple[list[Agent], Run]:
    structure, seeds = settings[0], [member.seed for member in settings]
    agents = [agent_for(member, envs.spaces) for member in settings]
    dtype = getattr(torch, structure.dtype.name)
    weights = list(Randomness(seeds, Purpose.weights))
    data = _data(structure, envs)
    stream, sampler, data_sampler = _replay(settings, envs, agents[0], data)
    device = torch_device(structure.device, structure.network.is_large)
    state_shape = (*envs.mask.shape[:2], agents[0].model.state_size)
    learner = make_learner(agents, weights, dtype, device, sampler)
    normalizer = None
    if structure.env.normalize is Normalization.running:
        normalizer = Normalizer(envs.spaces, (learner.state.parameters, learner.state.target))
        if data is not None:
            normalizer.observe_frames(data[0].obs[None])
    reward_normalizer = None
    if structure.env.normalize_reward:
        gamma = np.array([member.gamma for member in settings])
        reward_normalizer = RewardNormalizer(gamma, structure.env.num_envs)
    active_heads = None
    if structure.exploration.follows_heads:
        active_heads = ActiveHeads(structure.head.outputs, envs.mask.shape[:2])
    return agents, Run(
        envs=envs,
        stream=stream,
        sampler=sampler,
        learner=learner,
        exploration=merge_parts([member.exploration for member in settings]),
        action=np.zeros(envs.mask.shape[:2], np.int64),
        state=np.zeros(state_shape, structure.dtype.name),
        random=RandomStreams.of(seeds),
        clocks=[Clock()] * len(settings),
        learning_began=[Clock()] * len(settings),
        lockstep=is_lockstep(settings),
        exact=[True] * len(settings),
        normalizer=normalizer,
        reward_normalizer=reward_normalizer,
        active_heads=active_heads,
        data=data[1] if data else None,
        data_sampler=data_sampler,
    )


def _data(settings: Settings, envs: Environments) -> tuple[Transitions, DataSummary] | None:
    """Return the data that the settings name, and a summary of them."""
    if settings.data.path is None:
        return None
    task = Task(settings.env, envs.spaces, envs.masked, settings.dtype.name)
    return load_data(settings.data.path, task)


def _replay(
    settings: Sequence[Settings],
    envs: Environments,
    agent: Agent,
    data: tuple[Transitions, DataSummary] | None,
) -> tuple[Stream, Sampler[Replay], Sampler[Replay] | None]:
    """Return the replay stream, the sampler of transitions or sequences, and one of data alone."""
    replay, network = merge_parts([member.replay for member in settings]), agent.network
    spaces, env = envs.spaces, settings[0].env
    spec = BatchSpec(
        settings[0].longest_return,
        spaces.actions,
        spaces.frames,
        env.preprocess.clip_rewards,
        env.reward_scale,
        starts=isinstance(agent.optimizer, TraceOptimizer),
        anneals=settings[0].anneal.n_step.start is not None,
        following=max((part.following for part in agent.auxiliary.values()), default=0),
    )
    if isinstance(network, Recurrent):
        spec = spec._replace(burn_in=network.burn_in, length=network.length)
        replay = replace(replay, batch_size=max(replay.batch_size // network.length, 1))
    device = torch_device(Device[replay.observation_device.name], key="replay.device").type
    shaped = partial(
        Stream,
        masked=envs.masked,
        state_size=agent.model.state_size,
        window=spec.window,
        frames=spaces.frames,
        byte_size=spaces.byte_size,
        dtype=settings[0].dtype.name,
        device=device,
    )
    # The memory is computed from a stream of one transition, because allocating it may fail.
    smallest = shaped(1, envs.obs, envs.mask)
    slots = smallest.slots + replay.capacity // smallest.envs
    check_memory(replay.capacity, smallest.nbytes * slots // smallest.slots, device)
    stream = shaped(replay.capacity, envs.obs, envs.mask)
    gamma = np.array([member.gamma for member in settings])
    sampler = replay.sampler(stream, spec, gamma)
    if data is None:
        return stream, sampler, None
    transitions, summary = data
    if not settings[0].data.keep:
        put_first(stream, transitions)
        return stream, sampler, sampler
    slot_bytes = smallest.nbytes // (smallest.slots * smallest.envs)  # of all members
    check_data_memory(summary.path, slot_bytes * transitions.slots, device)
    held = shaped(transitions.slots, envs.obs[:, :1], envs.mask[:, :1])
    hold_data(held, transitions)
    logged = replay.sampler(held, spec._replace(logged=True), gamma)
    count = logged_samples(settings[0].data.share, replay.batch_size)
    alone = MixedSampler(sampler, logged, replay.batch_size)
    mixed = MixedSampler(sampler, logged, count)
    return stream, mixed, alone
