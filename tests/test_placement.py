"""Placement of tensors: runs on a pretended GPU, whose tensors can't meet those of the CPU.

Each computes what it computes on the CPU, bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import NEEDED, PRESETS
from pretend_gpu import PretendTensor, pretend_gpu
from short_runs import IMAGES, OWN, SHORT, SMALL, trained

from dqn_cli.config.paths import config_folder
from dqn_cli.policies import load_policy
from dqn_cli.replay.samplers import ReplayDevice
from dqn_cli.runs.job import Job
from dqn_cli.runs.session import Session
from dqn_cli.storage import load_checkpoint
from dqn_cli.training.settings import Device, Settings

Compose = Callable[..., Settings]

PARTS = ("env=parts:Parts-v0", "network.channels=[2,2]", "network.features=6")
SEQUENCES = ("network.units=6", "network.length=4", "network.burn_in=2", "network.channels=[2]")
BOUNDS = (
    "network.low=[-1,-1,-1,-1]",
    "network.high=[1,1,1,1]",
    "network.bins=3",
    "reset.every=null",
)
NETWORKS = {
    "impala": IMAGES, "nature": IMAGES, "multi": PARTS, "hadamax": NEEDED["network=hadamax"],
    "hadamax_small": NEEDED["network=hadamax_small"],
    "gru": (*SEQUENCES, *PARTS[::2]), "lstm": SEQUENCES,
    "minatar": NEEDED["network=minatar"], "table": BOUNDS, "module": NEEDED["network=module"],
}  # fmt: skip
STORED_ON_GPU = "replay.device=cuda"
CPU_REPLAY, GPU_REPLAY = ReplayDevice.cpu, ReplayDevice.cuda


def names(group: str) -> list[str]:
    return sorted(path.stem for path in (config_folder() / group).glob("*.yaml"))


def check_same_bits(settings: Settings, members: int, stored_on_gpu: bool = False) -> None:
    """Train on the CPU and on the pretended GPU, and compare all that learning changes."""
    expected = trained(replace(settings, device=Device.cpu), members)
    replay = replace(settings.replay, **({"device": GPU_REPLAY} if stored_on_gpu else {}))
    with pretend_gpu():
        run = trained(replace(settings, device=Device.cuda, replay=replay), members)
        assert isinstance(run.stream.obs, PretendTensor) == stored_on_gpu
        tensors = (*run.learner.state, run.learner.metrics)
        assert all(isinstance(tensor, PretendTensor) for tensor in tensors)
        values = [tensor.cpu() for tensor in tensors]
    wanted = (*expected.learner.state, expected.learner.metrics)
    assert all(torch.equal(own, other) for own, other in zip(values, wanted, strict=True))
    assert (run.stream.action == expected.stream.action).all()


@pytest.mark.parametrize(
    ("preset", "members"),
    [(preset, 2) for preset in PRESETS] + [(preset, 1) for preset in ("drqn", "pqn", "rainbow")],
)
def test_every_preset_learns_the_same_bits_on_a_gpu(
    settings_of: Compose, preset: str, members: int
) -> None:
    words = (f"agent={preset}", *SMALL, *OWN.get(preset, ()), "env.normalize=running")
    check_same_bits(settings_of(*words), members)


@pytest.mark.parametrize("network", names("network"))
def test_every_network_learns_the_same_bits_on_a_gpu(settings_of: Compose, network: str) -> None:
    words = (f"network={network}", "replay=prioritised", *SHORT, *NETWORKS.get(network, ()))
    check_same_bits(settings_of(*words), 2, stored_on_gpu=True)


@pytest.mark.parametrize("optimizer", names("optimizer"))
def test_every_optimizer_learns_the_same_bits_on_a_gpu(
    settings_of: Compose, optimizer: str
) -> None:
    needed = NEEDED.get(f"optimizer={optimizer}", ())
    words = (f"optimizer={optimizer}", "optimizer.max_grad_norm=1", "target=soft", *SMALL, *needed)
    check_same_bits(settings_of(*words), 2)


@pytest.mark.parametrize(
    "words",
    [
        (*SMALL, "env.normalize=running", "env.num_envs=2"),
        (*SMALL, "agent=drqn", *OWN["drqn"], "replay=prioritised"),
        (*SMALL, "agent=rainbow_iqn", "env.normalize=bounds", "env=LunarLander-v3"),
        (*SHORT, "network=nature", *IMAGES, "env.num_envs=16"),
        (*SHORT, "network=multi", *PARTS),
    ],
    ids=["normalize", "drqn", "rainbow_iqn", "images", "parts"],
)
def test_a_session_on_a_gpu_logs_saves_resumes_and_evaluates(
    settings_of: Compose, tmp_path: Path, words: tuple[str, ...]
) -> None:
    periods = ("log.every=8", "eval.every=16", "eval.episodes=1", "eval.max_episode_steps=5")
    settings = settings_of(*words, *periods, "checkpoint.every=16", "device=cuda", STORED_ON_GPU)
    written = [sessions(replace(settings, device=Device.cpu), tmp_path / "cpu", False)]
    with pretend_gpu():
        written.append(sessions(settings, tmp_path / "gpu", True))
    for expected, own in zip(*written, strict=True):
        assert expected.keys() == own.keys()
        assert all(torch.equal(own[name], expected[name]) for name in own)
    # What a GPU has trained plays without one.
    obs = load_checkpoint(tmp_path / "gpu" / "0" / "checkpoints" / "last")["obs"].numpy()[0]
    if "parts" not in str(words):
        load_policy(tmp_path / "gpu" / "0")(obs)


def sessions(settings: Settings, folder: Path, on_gpu: bool) -> list[dict[str, Any]]:
    """Train two members to half of the steps, resume them, and return their learners' tensors."""
    replay = settings.replay if on_gpu else replace(settings.replay, device=CPU_REPLAY)
    data = []
    for steps, resumes in ((settings.steps // 2, False), (settings.steps, True)):
        jobs = [
            Job(replace(settings, seed=seed, steps=steps, replay=replay), folder / str(seed), [])
            for seed in range(2)
        ]
        for job in jobs:
            job.folder.mkdir(parents=True, exist_ok=True)
        results = Session([job._replace(resumes=resumes) for job in jobs], "both")()
        assert [result["status"] for result in results] == ["finished"] * 2
        assert {result["device"] for result in results} == {"cuda:0" if on_gpu else "cpu"}
        data += [load_checkpoint(job.folder / "checkpoints" / "last")["learner"] for job in jobs]
    return data
