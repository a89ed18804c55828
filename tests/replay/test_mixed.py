from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dqn_cli.agent.batch import Batch
from dqn_cli.agent.metrics import SampleErrors
from dqn_cli.arrays import Array
from dqn_cli.replay.batches import BatchSpec
from dqn_cli.replay.mixed import MixedSampler, logged_samples
from dqn_cli.replay.prioritised import Prioritised, PrioritisedSampler, Priority
from dqn_cli.replay.samplers import Buffer, ReplayDevice, Uniform
from dqn_cli.replay.stream import EnvStep, Stream

CPU = ReplayDevice.cpu
UNIFORM = Uniform(capacity=16, batch_size=8, n_step=1, device=CPU)
PRIORITISED = Prioritised(16, 8, 1, CPU, 0.5, 0.4, 1.0, Priority.td_error, 1e-3)
SPEC = BatchSpec(1, 2, 0, False)
GAMMA = np.array([0.9, 0.9])
MEMBERS = 2


def stream_of(value: float, steps: int = 10) -> Stream:
    """A stream whose observations are all this value."""
    obs, mask = np.full((MEMBERS, 1, 1), value), np.ones((MEMBERS, 1, 2), bool)
    stream = Stream(16, obs, mask, False, 0, 1)
    no, zero = np.zeros((MEMBERS, 1), bool), np.zeros((MEMBERS, 1))
    for _ in range(steps):
        stream.append(np.zeros((MEMBERS, 1), int), EnvStep(zero, no, no, no, obs, mask, obs, mask))
    return stream


def mixed(replay: Buffer, logged_count: int) -> MixedSampler:
    own = replay.sampler(stream_of(1.0), SPEC, GAMMA)
    logged = replay.sampler(stream_of(2.0), SPEC._replace(logged=True), GAMMA)
    return MixedSampler(own, logged, logged_count)


def uniforms(*shape: int) -> Array:
    return np.random.default_rng(sum(shape)).random((MEMBERS, *shape))


def sampled(sampler: MixedSampler) -> tuple[Any, Batch]:
    samples = sampler.sample(sampler.storage, sampler.draw(uniforms, [0.5, 0.5]))
    batch = sampler.batch(sampler.storage, samples)
    assert isinstance(batch, Batch)
    return samples, batch


@pytest.mark.parametrize("replay", [UNIFORM, PRIORITISED], ids=["uniform", "prioritised"])
@pytest.mark.parametrize("count", [1, 3, 8])
def test_the_last_samples_of_a_batch_are_logged_and_say_so(replay: Buffer, count: int) -> None:
    _, batch = sampled(mixed(replay, count))
    assert batch.obs[..., 0].tolist() == [[1.0] * (8 - count) + [2.0] * count] * MEMBERS
    assert torch.equal(batch.logged, batch.obs[..., 0] == 2)
    assert batch.weight.shape == (MEMBERS, 8)


def test_errors_become_priorities_of_the_sampler_that_drew_the_sample() -> None:
    sampler = mixed(PRIORITISED, 3)
    samples, _ = sampled(sampler)
    errors = torch.arange(1.0, 9).expand(MEMBERS, 8)
    sampler.update_priorities(sampler.storage, samples, SampleErrors(0 * errors, errors))
    contents = sampler.contents(1)
    for name, part, own in (
        ("", slice(0, 5), sampler.own),
        ("logged_", slice(5, 8), sampler.logged),
    ):
        assert isinstance(own, PrioritisedSampler)
        leaves = contents[f"{name}leaves"]
        for position, error in zip(
            samples.position[1, part], errors[1, part].tolist(), strict=True
        ):
            same = samples.position[1, part] == position
            last = errors[1, part][torch.from_numpy(same)][-1].item()  # of a sample drawn twice
            assert leaves[position] == pytest.approx((last + 1e-3) ** 0.5), error


def test_contents_are_those_of_both_and_restore_both() -> None:
    first, second = mixed(PRIORITISED, 3), mixed(PRIORITISED, 3)
    samples, _ = sampled(first)
    errors = torch.rand(MEMBERS, 8)
    first.update_priorities(first.storage, samples, SampleErrors(errors, errors))
    for member in range(MEMBERS):
        second.load(first.contents(member), member)
    expected, found = sampled(first)[0], sampled(second)[0]
    assert all(np.array_equal(one, other) for one, other in zip(expected, found, strict=True))
    assert first.find_problem(first.contents(0), first.stream.contents(0)) is None


def test_contents_that_do_not_fit_the_data_are_refused() -> None:
    sampler = mixed(PRIORITISED, 3)
    sampled(sampler)
    contents = sampler.contents(0)
    contents["logged_end"] = contents["logged_end"] + 100
    assert sampler.find_problem(contents, sampler.stream.contents(0)) is not None


def test_structure_tells_shares_of_data_apart() -> None:
    assert mixed(UNIFORM, 2).structure() != mixed(UNIFORM, 3).structure()
    assert mixed(UNIFORM, 2).structure() == mixed(UNIFORM, 2).structure()


def test_memory_counts_the_data() -> None:
    sampler = mixed(PRIORITISED, 3)
    data = sampler.logged.stream.nbytes
    assert sampler.nbytes == data + sampler.own.nbytes + sampler.logged.nbytes


@pytest.mark.parametrize(("share", "size", "count"), [(0.25, 32, 8), (1, 8, 8), (0.1, 8, 1)])
def test_a_share_is_a_number_of_samples(share: float, size: int, count: int) -> None:
    assert logged_samples(share, size) == count


def test_a_share_of_less_than_a_sample_is_refused() -> None:
    with pytest.raises(ValueError, match=r"data.share=0.01 of a batch of 8 is not one sample"):
        logged_samples(0.01, 8)
