"""Learning on a device of its own: a GPU where there is one, and one without memory anywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import PRESETS

from dqn_cli.training.build_run import agent_for, build_run
from dqn_cli.training.learner import Learner
from dqn_cli.training.loop import Run, train
from dqn_cli.training.settings import Device, Settings

Compose = Callable[..., Settings]
Typed = Callable[..., int]

SMALL = (
    "network.widths=[12,8]", "steps=60", "learning_starts=20", "train_every=4",
    "updates_per_train=1", "replay.capacity=200", "replay.batch_size=4",
)  # fmt: skip
OWN = {
    "drqn": ("network.units=6", "network.length=4", "network.burn_in=2"),
    "pqn": ("env.num_envs=2", "train_every=16"),
}
PONG = (
    "env=ALE/Pong-v5", "env.preprocess.size=40", "network.channels=[2,2,2]", "steps=60",
    "learning_starts=20", "replay.capacity=200", "replay.batch_size=4", "eval.episodes=1",
    "eval.max_episode_steps=5",
)  # fmt: skip
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def played(settings: Settings) -> Run:
    """A run before its end, with a rollout at hand."""
    _, run = build_run([settings])
    for report in train([settings], run):
        if report.now[0].steps >= 40:
            break
    run.sampler.begin(lambda obs: run.learner.values(obs, run.random.noise))
    run.envs.close()
    return run


def fresh(settings: Settings, run: Run, device: str) -> Learner:
    """A learner of what the run has stored."""
    agent, weights = agent_for(settings, run.envs.spaces), [np.random.default_rng(0)]
    dtype = getattr(torch, settings.dtype.name)
    return Learner([agent], weights, dtype, torch.device(device), run.sampler)


@pytest.mark.parametrize("preset", PRESETS)
def test_an_update_computes_on_its_own_device_alone(settings_of: Compose, preset: str) -> None:
    # A tensor left behind on the CPU can't be computed with on the device that has no memory, and
    # what is there can't be read, as nobody is to wait for what a GPU has not computed yet.
    settings = settings_of(f"agent={preset}", *SMALL, *OWN.get(preset, ()))
    run = played(settings)
    learner = fresh(settings, run, "meta")
    surprise = learner.update(
        run.sampler.draw(run.random.replay.uniform, [0.5]), run.random.noise, [1.0]
    )
    learner.polyak_update([0.1])
    learner.reset([np.random.default_rng(1)], [False])
    assert surprise.loss.device == surprise.td_error.device == torch.device("meta")
    assert all(each.device == torch.device("meta") for each in (*learner.state, learner.metrics))


@gpu
@pytest.mark.parametrize("preset", PRESETS)
def test_a_gpu_learns_what_the_cpu_learns(settings_of: Compose, preset: str) -> None:
    settings = settings_of(f"agent={preset}", "dtype=float64", *SMALL, *OWN.get(preset, ()))
    runs = [played(settings), played(settings)]
    here, there = (
        fresh(settings, run, device) for run, device in zip(runs, ("cpu", "cuda"), strict=True)
    )
    for count in range(10):
        one, other = (
            learner.update(
                run.sampler.draw(run.random.replay.uniform, [0.5]), run.random.noise, [1.0]
            )
            for run, learner in zip(runs, (here, there), strict=True)
        )
        torch.testing.assert_close(other.td_error.cpu(), one.td_error, msg=f"update {count}")
        for each in (here, there):
            each.polyak_update([0.1])
    for one_part, other_part in zip(here.state, there.state, strict=True):
        torch.testing.assert_close(other_part.cpu(), one_part, rtol=1e-8, atol=1e-8)


@gpu
@pytest.mark.parametrize("kept", ["cpu", "cuda"])
@pytest.mark.parametrize("bfloat16", ["false", "true"])
def test_a_game_is_learned_resumed_and_judged_on_a_gpu(
    type_train: Typed, type_eval: Typed, kept: str, bfloat16: str
) -> None:
    words = (*PONG, f"replay.device={kept}", f"network.bfloat16={bfloat16}", "hydra.run.dir=run")
    assert type_train(*words) == 0
    assert json.loads(Path("run/result.json").read_text())["device"] == "cuda:0"
    assert type_train("resume=run", "steps=80") == 0
    assert json.loads(Path("run/result.json").read_text())["steps"] == 80
    assert type_eval("checkpoint=run", "episodes=1") == 0


@gpu
def test_batches_are_the_same_whether_frames_are_kept_on_the_gpu(settings_of: Compose) -> None:
    here = played(settings_of(*PONG, "device=cpu"))
    there = played(replace(settings_of(*PONG, "replay.device=cuda"), device=Device.cpu))
    drawn = here.sampler.draw(here.replay.uniform, [0.5])
    batches = [
        run.sampler.batch(run.sampler.sources, run.sampler.pick(run.sampler.sources, drawn))
        for run in (here, there)
    ]
    for one, other in zip(*batches, strict=True):
        torch.testing.assert_close(other.cpu(), one, rtol=0, atol=0)
