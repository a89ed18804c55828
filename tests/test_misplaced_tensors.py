"""Tensors that are left on the CPU: what would fail on a GPU fails on the pretended one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import STREAMING
from pretend_gpu import MixedDevices, PretendTensor, pretend_gpu
from short_runs import IMAGES, OWN, SHORT, SMALL, trained
from torch import Tensor

from dqn_cli.agent.auxiliary import Margin
from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.replay.batches import observations
from dqn_cli.training.build_run import agent_for
from dqn_cli.training.loop import Run
from dqn_cli.training.random_inputs import draw_random_inputs
from dqn_cli.training.settings import Settings

Compose = Callable[..., Settings]
LeaveBehind = Callable[[Tensor], None]


@pytest.fixture
def leave_behind() -> Iterator[LeaveBehind]:
    """Pretends a GPU; the function leaves a tensor on the CPU that the run moves to the GPU."""
    with pretend_gpu() as leave:
        yield leave


# What each tensor is read by: a preset, whose update fails without it.
MUNCHAUSEN = ("agent=munchausen", "replay=prioritised")
STREAM = ("agent=stream_q", *STREAMING[1:])
RECURRENT = ("agent=drqn", *OWN["drqn"], "update=munchausen", "replay.n_step=2")


@pytest.mark.parametrize(
    ("words", "field"),
    [(STREAM if field == "starts" else MUNCHAUSEN, field) for field in Batch._fields]
    + [(RECURRENT, field) for field in Sequences._fields],
)
def test_a_field_of_a_batch_that_is_left_on_the_cpu_is_found(
    settings_of: Compose, leave_behind: LeaveBehind, words: tuple[str, ...], field: str
) -> None:
    settings = settings_of(*SMALL, *words, "device=cuda")
    parts = {"margin": Margin(1.0, 0.8)} if field == "logged" else {}
    run = trained(replace(settings, auxiliary=parts), 2, steps=24)
    batch = batch_of(run)
    run.learner.update_on_batch(batch, run.random.noise, [1.0, 1.0])
    leave_behind(getattr(batch, field))
    with pytest.raises(MixedDevices):
        run.learner.update_on_batch(batch, run.random.noise, [1.0, 1.0])


def batch_of(run: Run) -> Batch | Sequences:
    draw = run.sampler.draw(run.random.replay.uniform, [0.5] * len(run.clocks))
    return run.sampler.batch(run.sampler.storage, run.sampler.sample(run.sampler.storage, draw))


ARGUMENTS = (
    "parameters", "moments", "corrections", "target", "metrics", "scalars", "taus", "noise",
    "lr_factors",
)  # fmt: skip
NUMBERS = ("corrections", "scalars", "lr_factors")  # a GPU takes a single number of the CPU


@pytest.mark.parametrize(
    ("name", "members"),
    [(name, 2) for name in ARGUMENTS] + [(name, 1) for name in ARGUMENTS if name not in NUMBERS],
)
def test_an_argument_of_an_update_that_is_left_on_the_cpu_is_found(
    settings_of: Compose, leave_behind: LeaveBehind, name: str, members: int
) -> None:
    words = ("agent=rainbow_iqn", *SMALL, "replay.n_step=1", "device=cuda")
    run = trained(settings_of(*words), members, steps=24)
    learner, batch = run.learner, batch_of(run)
    model = agent_for(settings_of(*words), run.envs.spaces).model
    random = draw_random_inputs(model, 4, run.random.noise, learner.metrics[:, 0].float())
    lr_factors = torch.ones(members, device="cuda")
    learner.batch_update(learner.tensors, batch, random, lr_factors)
    tensors, optimizer = learner.tensors, learner.tensors.optimizer
    if name in random._fields:
        random = random._replace(**{name: getattr(random, name).cpu()})
    elif name == "lr_factors":
        lr_factors = lr_factors.cpu()
    elif name == "moments":
        moments = tuple(moment.cpu() for moment in optimizer.moments)
        tensors = tensors._replace(optimizer=optimizer._replace(moments=moments))
    elif name in optimizer._fields:
        changed = {name: getattr(optimizer, name).cpu()}
        tensors = tensors._replace(optimizer=optimizer._replace(**changed))
    else:
        tensors = tensors._replace(**{name: getattr(tensors, name).cpu()})
    with pytest.raises(MixedDevices):
        learner.batch_update(tensors, batch, random, lr_factors)


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("name", ["parameters", "obs", "state", "noise"])
def test_an_argument_of_acting_that_is_left_on_the_cpu_is_found(
    settings_of: Compose, leave_behind: LeaveBehind, name: str, members: int
) -> None:
    words = ("agent=drqn", *SMALL, *OWN["drqn"], "network.noisy=true", "exploration=noisy")
    run = trained(settings_of(*words, "env.normalize=running", "device=cuda"), members, steps=24)
    learner = run.learner
    obs, state = torch.from_numpy(run.envs.obs), torch.from_numpy(run.state)
    parameters = learner.state.parameters
    model = agent_for(settings_of(*words), run.envs.spaces).model
    noise = torch.ones(members, model.noise_size, device="cuda")

    def act() -> None:
        learner.population.act(parameters, learner.tensors.scalars, obs, state, noise)

    act()
    if name in ("obs", "state"):
        leave_behind(obs if name == "obs" else state)
    else:
        parameters, noise = (
            (parameters.cpu(), noise) if name == "parameters" else (parameters, noise.cpu())
        )
    with pytest.raises(MixedDevices):
        act()


@pytest.mark.parametrize("name", ["parameters", "target"])
def test_a_target_update_finds_parameters_that_are_left_on_the_cpu(
    settings_of: Compose, leave_behind: LeaveBehind, name: str
) -> None:
    learner = trained(settings_of(*SMALL, "device=cuda"), 2, steps=24).learner
    learner.polyak_update([0.1, 0.2])
    learner.state = learner.state._replace(**{name: getattr(learner.state, name).cpu()})
    with pytest.raises(MixedDevices):
        learner.polyak_update([0.1, 0.2])


@pytest.mark.parametrize("name", ["parameters", "target", "moments", "corrections"])
def test_a_reset_finds_a_tensor_that_is_left_on_the_cpu(
    settings_of: Compose, leave_behind: LeaveBehind, name: str
) -> None:
    learner = trained(settings_of(*SMALL, "device=cuda"), 2, steps=24).learner
    learner.reset([np.random.default_rng(0)] * 2, [False, True])
    learner.state = learner.state._replace(**{name: getattr(learner.state, name).cpu()})
    with pytest.raises(MixedDevices):
        learner.reset([np.random.default_rng(0)] * 2, [False, True])


def test_stored_frames_are_never_read_with_indices_of_the_cpu(
    settings_of: Compose, leave_behind: LeaveBehind
) -> None:
    settings = settings_of(*SHORT, "network=nature", *IMAGES, "replay.device=cuda")
    run = trained(settings, 1, steps=24)
    newest = run.stream.newest(4)
    frames = observations(run.stream.storage, newest.ring, newest.slot, run.stream.frames)
    assert isinstance(frames, PretendTensor)
    with pytest.raises(MixedDevices):
        run.stream.storage.obs.reshape(-1, 36, 36).index_select(0, torch.tensor([1]))
