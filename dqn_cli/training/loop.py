"""The training loop: deep Q-learning with experience replay (Mnih et al. 2015, algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from torch import Tensor

from dqn_cli.agent.clock import Clock, crossings
from dqn_cli.agent.exploration import explore
from dqn_cli.arrays import Array
from dqn_cli.envs.vector import Environments
from dqn_cli.replay.samplers import Replay, Sampler
from dqn_cli.replay.stream import Step, Stream
from dqn_cli.training.learner import Learner
from dqn_cli.training.randomness import Randomness
from dqn_cli.training.settings import Settings


@dataclass
class Run:
    """What changes as a run goes on: with its settings, all that it takes to go on."""

    envs: Environments
    stream: Stream
    sampler: Sampler[Replay]
    learner: Learner
    state: Array  # [members, envs, state], what a recurrent network remembers of each episode
    exploration: Randomness
    replay: Randomness
    noise: Randomness
    resets: Randomness
    clock: Clock = Clock()
    learning_began: Clock = Clock()


class Tick(NamedTuple):
    """What one step of the environments brought."""

    before: Clock
    now: Clock
    step: Step
    epsilon: float | Array  # [envs] where each has its own
    metrics: list[Tensor]  # of each update, [len(Metrics), members]


def train(settings: Settings, run: Run) -> Iterator[Tick]:
    """Acts, remembers and learns, and yields once for each step of the environments."""
    while not finished(settings, run.clock):
        before = run.clock
        epsilon = current_epsilon(settings, run)
        action = act(settings, run, epsilon)
        step = run.envs.step(action)
        remember(run, action, step)
        run.clock = advance(before, step)
        if before.steps < settings.learning_starts:
            run.learning_began = run.clock
        run.learner.blend_target(settings.target.blend(before, run.clock))
        metrics = learn(settings, run, updates_due(settings, before, run))
        if reset_due(settings, before, run.clock):
            run.learner.reset(run.resets)
        yield Tick(before, run.clock, step, epsilon, metrics)


def act(settings: Settings, run: Run, epsilon: float | Array) -> Array:
    """Actions [members, envs]: random ones with chance epsilon, else those preferred."""
    mask = run.envs.mask
    uniform = run.exploration.uniform(mask.shape[1], 2)  # [members, envs, 2]
    exploring = uniform[..., 0] < epsilon
    random = np.count_nonzero(exploring)
    if random == exploring.size and not run.state.size:
        return explore(mask, uniform[..., 1])
    q, run.state = run.learner.act(run.envs.obs, run.state, run.noise)
    preferred = settings.exploration.preferred(q, mask, uniform[..., 1])
    if not random:
        return preferred
    return np.where(exploring, explore(mask, uniform[..., 1]), preferred)


def remember(run: Run, action: Array, step: Step) -> None:
    """Stores what happened; a new episode begins with an empty memory."""
    if run.state.size:
        run.state = np.where(step.ended[..., None], 0, run.state)
    run.stream.append(action, step, run.state)


def learn(settings: Settings, run: Run, updates: int) -> list[Tensor]:
    """So many updates, each on one batch drawn from the stream."""
    if updates:
        run.sampler.begin(lambda obs: run.learner.values(obs, run.noise))
    seen = []
    for _ in range(updates):
        drawn = run.sampler.draw(run.replay.uniform, progress(settings, run.clock))
        factor = learning_rate_factor(settings, run.clock)
        metrics, surprise = run.learner.update(drawn, run.noise, factor)
        run.sampler.learned(*surprise)
        before = run.clock
        run.clock = Clock(before.steps, before.updates + 1, before.episodes)
        run.learner.blend_target(settings.target.blend(before, run.clock))
        seen.append(metrics)
    return seen


def updates_due(settings: Settings, before: Clock, run: Run) -> int:
    """How many updates this step calls for; none until learning starts and a batch is there."""
    trainings = crossings(before.steps, run.clock.steps, settings.train_every)
    if not trainings or run.clock.steps <= settings.learning_starts:
        return 0
    # Where every step ends an episode, half of the slots hold last observations.
    always_fits = max(run.stream.capacity * run.stream.envs // 2, 1)
    if run.stream.sizes.sum(1).min() < min(settings.replay.batch_size, always_fits):
        return 0
    return trainings * settings.updates_per_train


def reset_due(settings: Settings, before: Clock, now: Clock) -> bool:
    """Whether the last layers start anew; not at a run's end, where nothing would be learned."""
    every = settings.reset.every
    if every is None or finished(settings, now):
        return False
    return crossings(before.steps, now.steps, every) > 0


def current_epsilon(settings: Settings, run: Run) -> float | Array:
    """Epsilon of the schedule, which begins when learning does; before, actions are uniform."""
    if run.clock.steps < settings.learning_starts:
        return 1.0
    elapsed = run.clock.since(run.learning_began)
    envs = settings.env.num_envs
    return settings.exploration.epsilon(elapsed, horizon(settings), envs)


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
    steps = clock.steps + step.reward.size // members
    return Clock(
        steps, clock.updates, clock.episodes + int(np.count_nonzero(step.ended)) // members
    )
