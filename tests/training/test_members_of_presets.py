"""Members of a population learn what each would have learned alone, with every preset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import PRESETS, STREAMING

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.training.build_run import agent_for, build_run
from dqn_cli.training.learner import Learner
from dqn_cli.training.loop import Run, act, store
from dqn_cli.training.randomness import Purpose, Randomness
from dqn_cli.training.settings import Settings

MEMBERS = 4
SMALL = ("network.widths=[12,8]", "replay.batch_size=8", "replay.capacity=400")
OWN = {
    "drqn": ("network.units=6", "network.length=4", "network.burn_in=2"),
    "pqn": ("env.num_envs=4", "train_every=64"),
    "stream_q": STREAMING[1:],
    "adaptive_q": STREAMING[1:],
}


class Members(NamedTuple):
    """The same members, each alone and all together."""

    alone: list[Run]
    together: Learner
    noise: Randomness


def members_of(settings_of: Callable[..., Settings], preset: str, dtype: str) -> Members:
    words = (f"agent={preset}", f"dtype={dtype}", *SMALL, *OWN.get(preset, ()))
    structure = settings_of(*words)
    runs, agents = [], []
    for seed in range(MEMBERS):
        optimizer = replace(structure.optimizer, lr=1e-3 * (1 + seed / 2))
        settings = replace(structure, seed=seed, optimizer=optimizer)
        (agent,), run = build_run([settings])
        agents.append(agent_for(settings, agent.spaces))
        for _ in range(80):
            run.action = act(settings, run, np.ones((1, 1)))
            store(run, run.envs.step(run.action))
        run.sampler.on_rollout(lambda obs, run=run: run.learner.values(obs, run.random.noise))
        run.envs.close()
        runs.append(run)
    seeds = list(range(MEMBERS))
    weights = list(Randomness(seeds, Purpose.weights))
    together = Learner(agents, weights, getattr(torch, dtype), torch.device("cpu"))
    return Members(runs, together, Randomness(seeds, Purpose.noise))


def difference(members: Members, updates: int) -> float:
    """Return the largest difference of parameters and moments after more updates."""
    for count in range(updates):
        batches = []
        for run in members.alone:
            draw = run.sampler.draw(run.random.replay.uniform, [0.5])
            storage = run.sampler.storage
            batches.append(run.sampler.batch(storage, run.sampler.sample(storage, draw)))
            run.learner.update(draw, run.random.noise, [1 - count / 2000])
            run.learner.polyak_update([0.05])
        kind = Batch if isinstance(batches[0], Batch) else Sequences
        stacked = kind(*(torch.cat(values) for values in zip(*batches, strict=True)))
        members.together.update_on_batch(stacked, members.noise, [1 - count / 2000] * MEMBERS)
        members.together.polyak_update([0.05] * MEMBERS)
    alone = zip(*(run.learner.state for run in members.alone), strict=True)
    return max(
        float((torch.cat(tensors) - together).abs().max())
        for tensors, together in zip(alone, members.together.state, strict=True)
    )


@pytest.mark.parametrize("preset", PRESETS)
def test_members_side_by_side_learn_what_each_learns_alone(
    settings_of: Callable[..., Settings], preset: str
) -> None:
    members = members_of(settings_of, preset, "float32")
    assert difference(members, 1) < 1e-5
    assert difference(members, 9) < 1e-4
    assert difference(members_of(settings_of, preset, "float64"), 20) < 1e-10


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_members_learn_the_same_over_a_thousand_updates(
    settings_of: Callable[..., Settings], preset: str
) -> None:
    assert difference(members_of(settings_of, preset, "float64"), 1000) < 1e-10
