"""Building a run from its settings."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np
import torch

from dqn_cli.agent.agent import Agent
from dqn_cli.agent.clock import Clock
from dqn_cli.agent.normalization import Normalization
from dqn_cli.agent.spaces import Spaces
from dqn_cli.envs.environments import Environments
from dqn_cli.envs.episode_seeds import EnvSnapshot, episode_seeds
from dqn_cli.replay.samplers import Replay, Sampler
from dqn_cli.training.active_heads import ActiveHeads
from dqn_cli.training.build_replay import build_replay, merge_parts, read_data
from dqn_cli.training.devices import torch_device
from dqn_cli.training.learner import Learner
from dqn_cli.training.loop import Run
from dqn_cli.training.normalizer import Normalizer
from dqn_cli.training.progress import is_lockstep
from dqn_cli.training.randomness import Purpose, Randomness, RandomStreams
from dqn_cli.training.reward_normalizer import RewardNormalizer
from dqn_cli.training.settings import Settings

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
        spaces=spaces,
        network=settings.network,
        head=settings.head,
        update=settings.update,
        optimizer=settings.optimizer,
        normalization=settings.env.normalize,
        auxiliary=settings.auxiliary,
        augment=settings.augment,
        acts_by_target=settings.target.acts,
        acts_by_heads=settings.exploration.follows_heads,
    )


def _assemble_run(
    settings: Sequence[Settings], envs: Environments, make_learner: LearnerFactory
) -> tuple[list[Agent], Run]:
    structure, seeds = settings[0], [member.seed for member in settings]
    agents = [agent_for(member, envs.spaces) for member in settings]
    dtype = getattr(torch, structure.dtype.name)
    weights = list(Randomness(seeds, Purpose.weights))
    data = read_data(structure, envs)
    replay = build_replay(settings, envs, agents[0], data)
    device = torch_device(structure.device, structure.network.is_large)
    state_shape = (*envs.mask.shape[:2], agents[0].model.state_size)
    learner = make_learner(agents, weights, dtype, device, replay.sampler)
    normalizer = None
    if structure.env.normalize is Normalization.running:
        normalizer = Normalizer(envs.spaces, (learner.state.parameters, learner.state.target))
        if data is not None:
            normalizer.observe_frames(data.transitions.obs[None])
    reward_normalizer = None
    if structure.env.normalize_reward:
        gamma = np.array([member.gamma for member in settings])
        reward_normalizer = RewardNormalizer(gamma, structure.env.num_envs)
    active_heads = None
    if structure.exploration.follows_heads:
        active_heads = ActiveHeads(structure.head.outputs, envs.mask.shape[:2])
    return agents, Run(
        envs=envs,
        stream=replay.stream,
        sampler=replay.sampler,
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
        data=data.summary if data else None,
        data_sampler=replay.data_sampler,
    )
