"""The training loop: deep Q-learning with experience replay (Mnih et al. 2015, algorithm 1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np

from dqn_cli.agent.clock import Clock, Unit, crossings
from dqn_cli.agent.exploration import Exploration, explore, legal_values
from dqn_cli.arrays import Array
from dqn_cli.envs.environments import Environments
from dqn_cli.replay.samplers import Replay, Sampler
from dqn_cli.replay.stream import EnvStep, Stream
from dqn_cli.training.learner import Learner
from dqn_cli.training.randomness import RandomStreams
from dqn_cli.training.settings import Settings

Answer = TypeVar("Answer")


@dataclass
class Run:
    """What changes as a run goes on: with its settings, all that it takes to go on.

    Members are runs of one structure side by side; they differ in seeds and numbers. All take
    their steps and updates together, so their clocks differ in episodes alone.
    """

    envs: Environments
    stream: Stream
    sampler: Sampler[Replay]
    learner: Learner
    exploration: Exploration  # of all members; where their numbers differ it has arrays
    action: Array  # [members, envs], chosen for the next step, once there is one
    state: Array  # [members, envs, state], what a recurrent network remembers of each episode
    random: RandomStreams
    clocks: list[Clock]  # of each member, as are those below
    learning_began: list[Clock]
    in_step: bool  # whether all members' schedules and periods always say the same


class StepReport(NamedTuple):
    """What one step of the environments brought."""

    before: list[Clock]  # of each member
    now: list[Clock]
    step: EnvStep
    ended: list[list[bool]]  # of each member's environments, whether an episode did
    epsilon: Array  # now, [members, envs], or [members, 1] where all environments have the same
    updates: int  # that followed
    finished: list[bool]  # of each member


def train(settings: Sequence[Settings], run: Run) -> Iterator[StepReport]:
    """Acts, remembers and learns, and yields once for each step of the environments.

    It goes on until the last member, each with its own settings, has finished.
    """
    structure = settings[0]  # what every member has in common is read here
    done = each(run, progress, settings, run.clocks)
    if not run.clocks[0].steps:
        run.action = act(structure, run, current_epsilon(settings, run))
    while min(done) < 1:
        before = run.clocks
        step = run.envs.step(run.action)
        remember(run, step)
        ended = step.ended.tolist()
        run.clocks = advance(before, ended)
        if before[0].steps < structure.learning_starts:
            run.learning_began = run.clocks
        # Chosen before learning, which a GPU does while the environments take their next step.
        epsilon = current_epsilon(settings, run)
        run.action = act(structure, run, epsilon)
        blend_targets(settings, run, before)
        updates = updates_due(structure, run, before[0])
        done = each(run, progress, settings, run.clocks)
        learn(settings, run, updates, done)
        over = [share >= 1 for share in done]
        if reset_due(structure, before[0], run.clocks[0]):
            run.learner.reset(run.random.resets, spared=over)
        yield StepReport(before, run.clocks, step, ended, epsilon, updates, over)


def act(settings: Settings, run: Run, epsilon: Array) -> Array:
    """Actions [members, envs]: random ones with chance epsilon, else those preferred."""
    mask = run.envs.mask
    uniform = run.random.exploration.uniform(mask.shape[1], 2)  # [members, envs, 2]
    exploring = uniform[..., 0] < epsilon
    explorers = np.count_nonzero(exploring)
    # What a network remembers and which noise it takes may not depend on other members.
    begun = run.clocks[0].steps >= settings.learning_starts
    needed = run.state.size or (begun and run.learner.is_noisy)
    if explorers == exploring.size and not needed:
        return explore(mask, uniform[..., 1])
    q, run.state = run.learner.act(run.envs.obs, run.state, run.random.noise)
    if run.envs.masked:
        q = legal_values(q, mask)
    preferred = run.exploration.preferred(q, uniform[..., 1])
    if not explorers:
        return preferred
    return np.where(exploring, explore(mask, uniform[..., 1]), preferred)


def remember(run: Run, step: EnvStep) -> None:
    """Stores what the action led to; a new episode begins with an empty memory."""
    if run.state.size:
        run.state = np.where(step.ended[..., None], 0, run.state)
    run.stream.append(run.action, step, run.state)


def learn(settings: Sequence[Settings], run: Run, updates: int, done: Sequence[float]) -> None:
    """So many updates, each on one batch drawn from the stream.

    `done` is how much of each member's run is over.
    """
    if not updates:
        return
    run.sampler.begin(lambda obs: run.learner.values(obs, run.random.noise))
    factors = [settings[0].optimizer.schedule.factor(share) for share in done]
    for _ in range(updates):
        drawn = run.sampler.draw(run.random.replay.uniform, done)
        run.learner.update(drawn, run.random.noise, factors)
        before = run.clocks
        run.clocks = [Clock(steps, made + 1, episodes) for steps, made, episodes in before]
        blend_targets(settings, run, before)


def blend_targets(settings: Sequence[Settings], run: Run, before: Sequence[Clock]) -> None:
    """Lets each target network follow, as its rule says of the time since `before`."""
    run.learner.blend_target(each(run, blend, settings, before, run.clocks))


def blend(settings: Settings, before: Clock, now: Clock) -> float:
    """How far a target network follows."""
    return settings.target.blend(before, now)


def each(run: Run, question: Callable[..., Answer], *of: Sequence[Any]) -> list[Answer]:
    """Each member's answer; where all would say the same, the first one is asked for all."""
    if run.in_step:
        return [question(*[items[0] for items in of])] * len(run.clocks)
    return list(map(question, *of))


def in_step(settings: Sequence[Settings]) -> bool:
    """Whether schedules and periods are the same for all, and none counts episodes."""
    first, parts = settings[0], ("steps", "target", "exploration")
    units = {getattr(part, "unit", None) for part in (first.target, first.exploration)}
    if Unit.episodes in units or any(one.episodes is not None for one in settings):
        return False
    return all(getattr(one, part) == getattr(first, part) for one in settings for part in parts)


def updates_due(settings: Settings, run: Run, before: Clock) -> int:
    """How many updates this step calls for; none until learning starts and a batch is there."""
    stream = run.stream
    trainings = crossings(before.steps, run.clocks[0].steps, settings.train_every)
    # By what was stored and not by the run's steps: one that goes on without its replay fills it
    # first. Nor by what can be sampled, which depends on where episodes end.
    collected = stream.appends * stream.envs
    stored = collected - (stream.window - 1) * stream.envs
    if collected <= settings.learning_starts or stored < settings.replay.batch_size:
        return 0
    return trainings * settings.updates_per_train


def reset_due(settings: Settings, before: Clock, now: Clock) -> bool:
    """Whether the last layers start anew."""
    every = settings.reset.every
    return every is not None and crossings(before.steps, now.steps, every) > 0


def current_epsilon(settings: Sequence[Settings], run: Run) -> Array:
    """Epsilon of the schedule, which begins when learning does; before, actions are uniform."""
    if run.clocks[0].steps < settings[0].learning_starts:
        return np.ones((len(settings), 1))
    epsilons = each(run, scheduled_epsilon, settings, run.clocks, run.learning_began)
    return np.asarray(epsilons).reshape(len(epsilons), -1)  # [members, 1 or envs]


def scheduled_epsilon(settings: Settings, now: Clock, began: Clock) -> float | Array:
    """Epsilon of one member, or [envs] where each environment has its own."""
    elapsed, envs = now.since(began), settings.env.num_envs
    return settings.exploration.epsilon(elapsed, settings.horizon, envs)


def progress(settings: Settings, clock: Clock) -> float:
    """Share of the run that is over, by steps or by episodes, whichever is further."""
    by_episodes = clock.episodes / settings.episodes if settings.episodes else 0.0
    return max(clock.steps / settings.steps, by_episodes)


def finished(settings: Settings, clock: Clock) -> bool:
    """Whether the steps or the episodes asked for are done."""
    return progress(settings, clock) >= 1


def advance(clocks: Sequence[Clock], ended: Sequence[Sequence[bool]]) -> list[Clock]:
    """The members' clocks after a step of their environments, each of which `ended` or did not."""
    return [
        Clock(steps + len(own), updates, episodes + sum(own))
        for (steps, updates, episodes), own in zip(clocks, ended, strict=True)
    ]
