"""Members of a population learn what each would have learned alone, whatever the preset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import PRESETS

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.training.build_run import agent_for, build_run
from dqn_cli.training.learner import Learner
from dqn_cli.training.loop import Run, act, remember
from dqn_cli.training.randomness import Purpose, Randomness
from dqn_cli.training.settings import Settings

MEMBERS = 4
SMALL = ("network.widths=[12,8]", "replay.batch_size=8", "replay.capacity=400")
OWN = {
    "drqn": ("network.units=6", "network.length=4", "network.burn_in=2"),
    "pqn": ("env.num_envs=4", "train_every=64"),
}


class Population(NamedTuple):
    """The same members, each alone and all together."""

    alone: list[Run]
    together: Learner
    noise: Randomness


def population(settings_of: Callable[..., Settings], preset: str, dtype: str) -> Population:
    words = (f"agent={preset}", f"dtype={dtype}", *SMALL, *OWN.get(preset, ()))
    settings = settings_of(*words)
    members, agents = [], []
    for seed in range(MEMBERS):
        optimizer = replace(settings.optimizer, lr=1e-3 * (1 + seed / 2))
        mine = replace(settings, seed=seed, optimizer=optimizer)
        (agent,), run = build_run([mine])
        agents.append(agent_for(mine, agent.spaces))
        for _ in range(80):
            run.action = act(mine, run, np.ones((1, 1)))
            remember(run, run.envs.step(run.action))
        run.sampler.begin(lambda obs, run=run: run.learner.values(obs, run.random.noise))
        run.envs.close()
        members.append(run)
    seeds = list(range(MEMBERS))
    weights = list(Randomness(seeds, Purpose.weights))
    together = Learner(agents, weights, getattr(torch, dtype), torch.device("cpu"))
    return Population(members, together, Randomness(seeds, Purpose.noise))


def difference(members: Population, updates: int) -> float:
    """Of parameters and moments, the largest after so many updates."""
    for count in range(updates):
        batches = []
        for run in members.alone:
            drawn = run.sampler.draw(run.random.replay.uniform, [0.5])
            sources = run.sampler.sources
            batches.append(run.sampler.batch(sources, run.sampler.pick(sources, drawn)))
            run.learner.update(drawn, run.random.noise, [1 - count / 2000])
            run.learner.polyak_update([0.05])
        kind = Batch if isinstance(batches[0], Batch) else Sequences
        stacked = kind(*(torch.cat(each) for each in zip(*batches, strict=True)))
        members.together.update(stacked, members.noise, [1 - count / 2000] * MEMBERS)
        members.together.polyak_update([0.05] * MEMBERS)
    alone = [run.learner.state for run in members.alone]
    return max(
        float((torch.cat(each) - all_of_them).abs().max())
        for each, all_of_them in zip(zip(*alone, strict=True), members.together.state, strict=True)
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_members_side_by_side_learn_what_each_learns_alone(
    settings_of: Callable[..., Settings], preset: str
) -> None:
    members = population(settings_of, preset, "float32")
    assert difference(members, 1) < 1e-5
    assert difference(members, 9) < 1e-4
    assert difference(population(settings_of, preset, "float64"), 20) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_members_stay_together_over_a_thousand_updates(
    settings_of: Callable[..., Settings], preset: str
) -> None:
    assert difference(population(settings_of, preset, "float64"), 1000) < 1e-10
