"""Devices and threads, and learning on a GPU, or on a device without memory if there is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import PRESETS, STREAMING

from dqn_cli.training import devices
from dqn_cli.training.build_run import agent_for, build_run
from dqn_cli.training.devices import thread_count, torch_device
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
    "stream_q": STREAMING[1:],
    "adaptive_q": STREAMING[1:],
}
PONG = (
    "env=ALE/Pong-v5", "env.preprocess.size=40", "network.channels=[2,2,2]", "steps=60",
    "learning_starts=20", "replay.capacity=200", "replay.batch_size=4", "eval.episodes=1",
    "eval.max_episode_steps=5",
)  # fmt: skip
IMAGES = ("env=pictures:Pictures-v0", "network=nature", "+env.kwargs.colors=true")
gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")


def test_auto_is_a_gpu_only_for_large_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_there in (False, True):
        monkeypatch.setitem(devices.AVAILABLE, Device.cuda, lambda there=is_there: there)
        assert torch_device(Device.auto) == torch.device("cpu")
        assert torch_device(Device.auto, large=True).type == ("cuda" if is_there else "cpu")
        assert torch_device(Device.cpu, large=True) == torch.device("cpu")


def test_a_missing_device_is_refused_by_its_key(
    settings_of: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(devices.AVAILABLE, Device.cuda, lambda: False)
    for key in ("device", "replay.device"):
        with pytest.raises(ValueError, match=f"^{key}=cuda: .* use {key}=cpu$"):
            build_run([settings_of(f"{key}=cuda", "network.widths=[4]")])


@pytest.mark.parametrize(
    ("words", "members", "threads"),
    [
        (IMAGES, 1, 2),
        (IMAGES, 2, 1),
        ((*IMAGES, "threads=1"), 1, 1),
        (("network.widths=[1024,1024]",), 1, 1),
        (("threads=3",), 4, 3),
    ],
)
def test_a_lone_run_on_images_takes_two_threads(
    settings_of: Compose,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    members: int,
    threads: int,
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(devices, "available_cores", lambda: 8)
    assert thread_count(settings_of(*words), members) == threads


@pytest.mark.parametrize(("given", "threads"), [("1", 1), ("2", 2), ("8", 2)])
def test_a_lone_run_takes_no_more_threads_than_its_launcher_gave_it(
    settings_of: Compose, monkeypatch: pytest.MonkeyPatch, given: str, threads: int
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    monkeypatch.setattr(devices, "available_cores", lambda: 8)
    assert thread_count(settings_of(*IMAGES), 1) == threads


def test_one_core_has_one_thread(settings_of: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available_cores", lambda: 1)
    assert thread_count(settings_of(*IMAGES), 1) == 1


def played(settings: Settings) -> Run:
    """Return a run before its end, with a rollout ready."""
    _, run = build_run([settings])
    for report in train([settings], run):
        if report.now[0].steps >= 40:
            break
    run.sampler.on_rollout(lambda obs: run.learner.values(obs, run.random.noise))
    run.envs.close()
    return run


def fresh(settings: Settings, run: Run, device: str) -> Learner:
    """Return a new learner on a device, which learns from the run's replay."""
    agent, weights = agent_for(settings, run.envs.spaces), [np.random.default_rng(0)]
    dtype = getattr(torch, settings.dtype.name)
    return Learner([agent], weights, dtype, torch.device(device), run.sampler)


@pytest.mark.parametrize("preset", PRESETS)
def test_an_update_computes_on_its_own_device_alone(settings_of: Compose, preset: str) -> None:
    # The meta device has no memory: its tensors can't be combined with one that is left on the CPU,
    # and their values can't be read. So an update never waits for what a GPU has yet to compute.
    settings = settings_of(f"agent={preset}", *SMALL, *OWN.get(preset, ()))
    run = played(settings)
    learner = fresh(settings, run, "meta")
    errors = learner.update(
        run.sampler.draw(run.random.replay.uniform, [0.5]), run.random.noise, [1.0]
    )
    learner.polyak_update([0.1])
    learner.reset([np.random.default_rng(1)], [False])
    assert errors.loss.device == errors.td_error.device == torch.device("meta")
    tensors = (*learner.state, learner.metrics)
    assert all(tensor.device == torch.device("meta") for tensor in tensors)


@gpu
@pytest.mark.parametrize("preset", PRESETS)
def test_a_gpu_learns_what_the_cpu_learns(settings_of: Compose, preset: str) -> None:
    settings = settings_of(f"agent={preset}", "dtype=float64", *SMALL, *OWN.get(preset, ()))
    runs = [played(settings), played(settings)]
    on_cpu, on_gpu = (
        fresh(settings, run, device) for run, device in zip(runs, ("cpu", "cuda"), strict=True)
    )
    for count in range(10):
        expected, errors = (
            learner.update(
                run.sampler.draw(run.random.replay.uniform, [0.5]), run.random.noise, [1.0]
            )
            for run, learner in zip(runs, (on_cpu, on_gpu), strict=True)
        )
        torch.testing.assert_close(errors.td_error.cpu(), expected.td_error, msg=f"update {count}")
        for learner in (on_cpu, on_gpu):
            learner.polyak_update([0.1])
    for tensor, values in zip(on_gpu.state, on_cpu.state, strict=True):
        torch.testing.assert_close(tensor.cpu(), values, rtol=1e-8, atol=1e-8)


@gpu
@pytest.mark.parametrize("kept", ["cpu", "cuda"])
@pytest.mark.parametrize("bfloat16", ["false", "true"])
def test_a_game_is_learned_resumed_and_evaluated_on_a_gpu(
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
    on_cpu = played(settings_of(*PONG, "device=cpu"))
    on_gpu = played(replace(settings_of(*PONG, "replay.device=cuda"), device=Device.cpu))
    draw = on_cpu.sampler.draw(on_cpu.random.replay.uniform, [0.5])
    batches = []
    for sampler in (on_cpu.sampler, on_gpu.sampler):
        storage = sampler.storage
        batches.append(sampler.batch(storage, sampler.sample(storage, draw)))
    for expected, values in zip(*batches, strict=True):
        torch.testing.assert_close(values.cpu(), expected, rtol=0, atol=0)
