"""The training loop: deep Q-learning with experience replay (Mnih et al. 2015, algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from dqn_cli.agent.clock import Clock, crossings
from dqn_cli.agent.exploration import Exploration, legal_values, random_action
from dqn_cli.arrays import Array
from dqn_cli.data.load import DataSummary
from dqn_cli.envs.environments import Environments
from dqn_cli.replay.batches import stored_observations
from dqn_cli.replay.samplers import Replay, Sampler
from dqn_cli.replay.stream import EnvStep, Stream
from dqn_cli.training.active_heads import ActiveHeads
from dqn_cli.training.annealed_numbers import (
    changes_returns,
    current_gamma,
    current_n_step,
    current_updates,
    lr_factor,
)
from dqn_cli.training.learner import Learner
from dqn_cli.training.normalizer import Normalizer
from dqn_cli.training.progress import advance, progress, recycling_due, reset_due
from dqn_cli.training.randomness import RandomStreams
from dqn_cli.training.reward_normalizer import RewardNormalizer
from dqn_cli.training.settings import Settings

Result = TypeVar("Result")

RECYCLING_SAMPLE = 256  # observations that dormant units are found on


@dataclass
class Run:
    """Everything that changes in a run; with its settings, all that is needed to resume it.

    Members are runs of one structure side by side, which differ in seeds and numbers. They take
    steps and updates together, so their clocks differ in episodes alone.
    """

    envs: Environments
    stream: Stream
    sampler: Sampler[Replay]
    learner: Learner
    exploration: Exploration  # of all members; it has arrays of the numbers that differ
    action: Array  # [members, envs], chosen for the next step, once there is one
    state: Array  # [members, envs, state], of a recurrent network
    random: RandomStreams
    clocks: list[Clock]  # of each member
    learning_began: list[Clock]  # of each member
    lockstep: bool  # True if schedules and periods are always the same for all members
    exact: list[bool]  # of each member, whether it equals a run that was never interrupted
    normalizer: Normalizer | None = None  # of observations, with env.normalize=running
    reward_normalizer: RewardNormalizer | None = None  # with env.normalize_reward=true
    active_heads: ActiveHeads | None = None  # with exploration=bootstrapped
    data: DataSummary | None = None  # transitions that the run was given
    data_sampler: Sampler[Replay] | None = None  # of batches from these alone


class StepReport(NamedTuple):
    """Result of one step of the environments and the learning that followed it.

    An update before the first step has no `step`.
    """

    before: list[Clock]  # of each member
    now: list[Clock]
    step: EnvStep | None
    ended: list[list[bool]]  # of each member's environments, whether an episode ended
    epsilon: Array  # now, [members, envs], or [members, 1] if all environments have the same
    updates: int  # that followed
    finished: list[bool]  # of each member


def train(settings: Sequence[Settings], run: Run) -> Iterator[StepReport]:
    """Act, store and learn until the last member has finished; yield after each step."""
    structure = settings[0]  # all members share what is read from it
    shares = per_member(run, progress, settings, run.clocks)
    if not run.clocks[0].steps and structure.steps:
        observe(run)
        draw_heads(run, np.ones_like(run.action, bool))
        run.action = act(structure, run, current_epsilon(settings, run))
    while min(shares) < 1:
        before = run.clocks
        step = run.envs.step(run.action)
        store(run, step)
        observe(run)
        ended = step.ended.tolist()
        run.clocks = advance(before, ended)
        if before[0].steps < structure.learning_starts:
            run.learning_began = run.clocks
        # The action is chosen before learning, so that a GPU can learn during the next step.
        epsilon = current_epsilon(settings, run)
        run.action = act(structure, run, epsilon)
        update_targets(settings, run, before)
        updates = updates_due(structure, run, before[0])
        shares = per_member(run, progress, settings, run.clocks)
        learn(settings, run, updates, shares)
        finished = [share >= 1 for share in shares]
        if recycling_due(structure, before[0], run.clocks[0]):
            recycle(structure, run, finished)
        if reset_due(structure, before[0], run.clocks[0]):
            run.learner.reset(run.random.resets, finished, structure.reset.shrink)
        yield StepReport(before, run.clocks, step, ended, epsilon, updates, finished)


def act(settings: Settings, run: Run, epsilon: Array) -> Array:
    """Choose actions [members, envs]: random ones with probability epsilon, else preferred ones."""
    mask = run.envs.mask
    uniform = run.random.exploration.uniform(mask.shape[1], 2)  # [members, envs, 2]
    explores = uniform[..., 0] < epsilon
    explorers = np.count_nonzero(explores)
    # A member's recurrent state and noise must not depend on whether other members explore.
    learning = run.clocks[0].steps >= settings.learning_starts
    needs_network = run.state.size or (learning and run.learner.is_noisy)
    if explorers == explores.size and not needs_network:
        return random_action(mask, uniform[..., 1])
    q, run.state = run.learner.act(run.envs.obs, run.state, run.random.noise)
    if run.active_heads is not None:
        q = run.active_heads.values(q)
    if run.envs.masked:
        q = legal_values(q, mask)
    preferred = run.exploration.preferred(q, uniform[..., 1], run.envs.obs)
    if not explorers:
        return preferred
    return np.where(explores, random_action(mask, uniform[..., 1]), preferred)


def store(run: Run, step: EnvStep) -> None:
    """Store the result of the action; a new episode begins with a recurrent state of zeros."""
    if run.state.size or run.active_heads is not None:
        begins = step.ended if step.is_reset is None else step.ended | step.is_reset
        run.state = np.where(begins[..., None], 0, run.state)
        draw_heads(run, begins)
    if run.reward_normalizer is not None:
        step = run.reward_normalizer.normalize(step)
    run.stream.append(run.action, step, run.state)


def draw_heads(run: Run, begins: Array) -> None:
    """Draw a head for each episode that begins, [members, envs]."""
    if run.active_heads is not None:
        run.active_heads.draw(begins, run.random.exploration.uniform(begins.shape[1]))


def observe(run: Run) -> None:
    """Update the running normalization and counts with the observations to act on."""
    if run.normalizer is not None:
        run.normalizer.observe(run.envs.obs)
    run.learner.observe(run.envs.obs)


def learn(
    settings: Sequence[Settings],
    run: Run,
    updates: int,
    shares: Sequence[float],
    sampler: Sampler[Replay] | None = None,
) -> None:
    """Take a number of gradient steps, each on one batch from replay.

    Args:
        settings: Settings of each member.
        run: The run.
        updates: Number of gradient steps.
        shares: Share of each member's run that is over.
        sampler: Source of the batches, which the learner uses; None: the run's own.
    """
    if not updates:
        return
    sampler = sampler or run.sampler
    times = settings, run.clocks, run.learning_began
    if changes_returns(settings[0]):
        sampler.anneal([*map(current_gamma, *times)], [*map(current_n_step, *times)])
    sampler.on_rollout(lambda obs: run.learner.values(obs, run.random.noise))
    lr_factors = [*map(lr_factor, *times, shares)]
    for _ in range(updates):
        draw = sampler.draw(run.random.replay.uniform, shares)
        run.learner.update(draw, run.random.noise, lr_factors)
        before = run.clocks
        run.clocks = [Clock(steps, made + 1, episodes) for steps, made, episodes in before]
        update_targets(settings, run, before)


def update_targets(settings: Sequence[Settings], run: Run, before: Sequence[Clock]) -> None:
    """Update each target network as its rule says for the time since `before`."""
    run.learner.polyak_update(per_member(run, polyak_coefficient, settings, before, run.clocks))


def polyak_coefficient(settings: Settings, before: Clock, now: Clock) -> float:
    """Return the Polyak coefficient of one member's target network."""
    if settings.data.pretrain and not now.steps:
        before, now = settings.in_steps(before), settings.in_steps(now)
    return settings.target.polyak_coefficient(before, now)


def per_member(run: Run, function: Callable[..., Result], *values: Sequence[Any]) -> list[Result]:
    """Apply a function to each member's values; in lockstep, only to those of the first."""
    if run.lockstep:
        return [function(*[items[0] for items in values])] * len(run.clocks)
    return list(map(function, *values))


def updates_due(settings: Settings, run: Run, before: Clock) -> int:
    """Return how many updates follow this step; 0 before learning starts or a batch is stored."""
    stream = run.stream
    trainings = crossings(before.steps, run.clocks[0].steps, settings.train_every)
    # What is stored counts, not the run's steps: a run resumed without its replay refills it first.
    # What can be sampled does not count, because it depends on where episodes end.
    collected = stream.appends * stream.envs
    stored = collected - (stream.window - 1) * stream.envs
    if collected <= settings.learning_starts or stored < settings.replay.batch_size:
        return 0
    return trainings * current_updates(settings, run.clocks[0], run.learning_began[0])


def recycle(settings: Settings, run: Run, finished: Sequence[bool]) -> None:
    """Reinitialize dormant units, measured on observations from all over the replay."""
    stream, places = run.sampler.spread(RECYCLING_SAMPLE)
    obs = stored_observations(stream, places)
    run.learner.recycle(obs, run.random.resets, finished, settings.reset.threshold)


def current_epsilon(settings: Sequence[Settings], run: Run) -> Array:
    """Return epsilon, [members, envs] or [members, 1]; it is 1 until learning starts."""
    if run.clocks[0].steps < settings[0].learning_starts:
        return np.ones((len(settings), 1))
    epsilons = per_member(run, scheduled_epsilon, settings, run.clocks, run.learning_began)
    return np.asarray(epsilons).reshape(len(epsilons), -1)  # [members, 1 or envs]


def scheduled_epsilon(settings: Settings, now: Clock, began: Clock) -> float | Array:
    """Return epsilon of one member, or [envs] if each environment has its own."""
    elapsed, envs = now.since(began), settings.env.num_envs
    return settings.exploration.epsilon(elapsed, settings.horizon, envs)
