"""The training loop: deep Q-learning with experience replay (Mnih et al. 2015, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from dqn_cli.agent.clock import Clock, crossings
from dqn_cli.agent.exploration import best_action, explore
from dqn_cli.arrays import Array
from dqn_cli.envs.vector import Environments
from dqn_cli.replay.stream import Step, Stream
from dqn_cli.training.learner import Learner, Metrics
from dqn_cli.training.randomness import Randomness
from dqn_cli.training.settings import Settings


@dataclass
class Run:
    """What changes as a run goes on: with its settings, all that it takes to go on."""

    envs: Environments
    stream: Stream
    learner: Learner
    exploration: Randomness
    replay: Randomness
    clock: Clock = Clock()
    learning_began: Clock = Clock()


class Tick(NamedTuple):
    """What one step of the environments brought."""

    before: Clock
    now: Clock
    step: Step
    epsilon: float
    metrics: list[Metrics]


def train(settings: Settings, run: Run) -> Iterator[Tick]:
    """Acts, remembers and learns, and yields once for each step of the environments."""
    while not finished(settings, run.clock):
        before = run.clock
        epsilon = current_epsilon(settings, run)
        action = act(run, epsilon)
        step = run.envs.step(action)
        run.stream.append(action, step)
        run.clock = advance(before, step)
        if before.steps < settings.learning_starts:
            run.learning_began = run.clock
        run.learner.blend_target(settings.target.blend(before, run.clock))
        metrics = [learn(settings, run) for _ in range(updates_due(settings, before, run))]
        yield Tick(before, run.clock, step, epsilon, metrics)


def act(run: Run, epsilon: float) -> Array:
    """Epsilon-greedy actions [members, envs]."""
    mask = run.envs.mask
    uniform = run.exploration.uniform(mask.shape[1], 2)  # [members, envs, 2]
    exploring = uniform[..., 0] < epsilon
    action = explore(mask, uniform[..., 1])
    if not exploring.all():
        greedy = best_action(run.learner.q(run.envs.obs), mask)
        action = np.where(exploring, action, greedy)
    return action


def learn(settings: Settings, run: Run) -> Metrics:
    """One update on one batch drawn from the stream."""
    uniform = run.replay.uniform(settings.replay.batch_size)  # [members, batch]
    indices = settings.replay.indices(run.stream, uniform)
    gamma = np.full(run.stream.members, settings.gamma)
    batch = run.stream.batch(indices, np.ones(uniform.shape), gamma)
    metrics = run.learner.update(batch, learning_rate_factor(settings, run.clock))
    before, run.clock = run.clock, run.clock._replace(updates=run.clock.updates + 1)
    run.learner.blend_target(settings.target.blend(before, run.clock))
    return metrics


def updates_due(settings: Settings, before: Clock, run: Run) -> int:
    """How many updates this step calls for; none until learning starts and a batch is there."""
    if run.clock.steps <= settings.learning_starts:
        return 0
    # Where every step ends an episode, half of the slots hold last observations.
    always_fits = max(run.stream.capacity * run.stream.envs // 2, 1)
    if run.stream.sizes.sum(1).min() < min(settings.replay.batch_size, always_fits):
        return 0
    trainings = crossings(before.steps, run.clock.steps, settings.train_every)
    return trainings * settings.updates_per_train


def current_epsilon(settings: Settings, run: Run) -> float:
    """Epsilon of the schedule, which begins when learning does; before, actions are uniform."""
    if run.clock.steps < settings.learning_starts:
        return 1.0
    elapsed = run.clock.since(run.learning_began)
    return settings.exploration.epsilon(elapsed, horizon(settings))


def learning_rate_factor(settings: Settings, clock: Clock) -> float:
    """What the learning rate's schedule multiplies it with now."""
    return settings.optimizer.schedule.factor(progress(settings, clock))


def progress(settings: Settings, clock: Clock) -> float:
    """Share of the run that is over, by steps or by episodes, whichever is further."""
    by_episodes = clock.episodes / settings.episodes if settings.episodes else 0.0
    return max(clock.steps / settings.steps, by_episodes)


def finished(settings: Settings, clock: Clock) -> bool:
    """Whether the steps or the episodes asked for are done."""
    return progress(settings, clock) >= 1


def horizon(settings: Settings) -> Clock:
    """The clock at the end of the run, as far as it is known before."""
    trainings = max(settings.steps - settings.learning_starts, 0) // settings.train_every
    return Clock(settings.steps, trainings * settings.updates_per_train, settings.episodes or 0)


def advance(clock: Clock, step: Step) -> Clock:
    """The clock after a step of the environments of one member."""
    members = step.reward.shape[0]
    return clock._replace(
        steps=clock.steps + step.reward.size // members,
        episodes=clock.episodes + int(step.ended.sum()) // members,
    )
