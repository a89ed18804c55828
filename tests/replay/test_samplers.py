from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from recorded_envs import (
    ACTIONS,
    IN_TENSORS,
    Envs,
    as_tensors,
    as_they_are,
    batch_of,
    go_on_from,
    kept_of,
    leaves_of,
    next_batch,
    next_transitions,
    numbers,
    recorded_envs,
    same,
    same_contents,
    sample_batch,
    sequences_spec,
    step_all,
    stream_of,
    transitions_spec,
    update_priorities,
)
from torch.fx.experimental.proxy_tensor import make_fx

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.arrays import Array, Values, tensor
from dqn_cli.replay import samplers
from dqn_cli.replay.batches import BatchSpec, build_batch
from dqn_cli.replay.prioritised import Prioritised, Priority
from dqn_cli.replay.rollouts import Rollout
from dqn_cli.replay.samplers import (
    Buffer,
    Draw,
    Replay,
    ReplayDevice,
    Sampler,
    Uniform,
    UniformSampler,
)
from dqn_cli.replay.stream import Indices, Stream, StreamStorage

SIZES = [[3, 0, 7], [0, 13, 2]]  # transitions in the rings of two members
CAPACITY = 13  # of one ring
CPU = ReplayDevice.cpu
UNIFORM = Uniform(capacity=39, batch_size=32, n_step=1, device=CPU)
SPEC = BatchSpec(n_step=1, actions=2, frames=0, clip_rewards=False)
GAMMA = np.array([0.9, 0.5])
HALF = [0.5, 0.5]  # of each member's run is over


def filled_stream() -> Stream:
    """Rings of SIZES; slot 100 * ring + k is the k-th oldest, and the queues have wrapped."""
    members, envs = np.shape(SIZES)
    mask = np.ones((members, envs, 2), bool)
    stream = Stream(CAPACITY * envs, np.zeros((members, envs, 1)), mask, False, 0, 1)
    ring, k = np.indices((members * envs, CAPACITY))
    first = np.array([0, 5, 9, 12, 4, 25])
    queue = np.zeros((members * envs, CAPACITY), np.int64)
    queue[ring, (first[:, None] + k) % CAPACITY] = 100 * ring + k
    stream.queue[:], stream.first[:], stream.count[:] = queue, first, np.ravel(SIZES)
    return stream


def stored(member: int) -> list[int]:
    """The slots that a member can sample, in the order of its rings."""
    rings = enumerate(SIZES[member], 3 * member)
    return [100 * ring + k for ring, size in rings for k in range(size)]


@dataclass
class Calls:
    """Arguments of `build_batch`."""

    indices: list[Indices] = field(default_factory=list)
    weight: list[Values] = field(default_factory=list)
    gamma: list[Values] = field(default_factory=list)
    spec: list[BatchSpec] = field(default_factory=list)

    def __call__(
        self,
        storage: StreamStorage,
        indices: Indices,
        weight: Values,
        gamma: Values,
        spec: BatchSpec,
        n_step: Values | None = None,
    ) -> Batch | Sequences:
        self.indices.append(indices)
        self.weight.append(weight)
        self.gamma.append(gamma)
        self.spec.append(spec)
        return build_batch(storage, indices, weight, gamma, spec, n_step)


@contextmanager
def recorded_calls() -> Iterator[Calls]:
    """Records with which arguments samplers build batches."""
    with pytest.MonkeyPatch.context() as patch:
        calls = Calls()
        patch.setattr(samplers, "build_batch", calls)
        yield calls


def sampled_slots(uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    """Slots that uniform numbers choose, [members, batch]; the same in arrays and tensors."""
    sampler = Uniform(10**6, uniform.shape[1], 1, CPU).sampler(filled_stream(), SPEC, GAMMA)
    assert isinstance(sampler, UniformSampler)
    with recorded_calls() as calls:
        next_transitions(sampler, lambda size: uniform[:, :size])
    (ring, slot), in_tensors = calls.indices
    assert equal(in_tensors, (ring, slot))
    assert (slot // 100 == ring).all()
    assert isinstance(slot, np.ndarray)
    return slot


@pytest.mark.parametrize("member", [0, 1])
def test_the_unit_interval_is_cut_into_equal_parts_for_the_stored_transitions(member: int) -> None:
    slots = stored(member)
    uniform = (np.arange(4 * len(slots)) + 0.5) / (4 * len(slots))
    assert (
        sampled_slots(np.stack([uniform, uniform]))[member].tolist() == np.repeat(slots, 4).tolist()
    )


def test_the_ends_of_the_unit_interval_are_the_first_and_the_last_transition() -> None:
    ends = np.array([0.0, np.nextafter(1.0, 0.0)])
    assert sampled_slots(np.stack([ends, ends])).tolist() == [[0, 206], [400, 501]]


def test_members_draw_with_their_own_numbers() -> None:
    # the fourth of ten is the oldest of ring 2, the last of fifteen the newest of ring 5
    assert sampled_slots(np.array([[0.35], [0.99]])).tolist() == [[200], [501]]


def test_every_stored_transition_is_equally_likely_whatever_its_rings_fill() -> None:
    drawn = sampled_slots(np.random.default_rng(0).random((2, 30_000)))
    # 0.1 % points of chi-square with 9 and with 14 degrees of freedom
    for member, limit in enumerate([27.9, 36.1]):
        slots, counts = np.unique(drawn[member], return_counts=True)
        assert slots.tolist() == stored(member)
        expected = 30_000 / len(slots)
        assert ((counts - expected) ** 2 / expected).sum() < limit


def test_a_batch_is_built_of_the_sampled_slots_with_weight_one() -> None:
    sampler = UNIFORM.sampler(filled_stream(), SPEC, GAMMA)
    uniform = numbers(np.random.default_rng(1), 2)(32)
    with recorded_calls() as calls:
        batch = next_transitions(sampler, lambda size: uniform[:, :size], 0.5)
    arguments = [*zip(calls.indices, calls.weight, calls.gamma, calls.spec, strict=True)]
    assert len(arguments) == 2  # arrays, and tensors
    for indices, weight, gamma, spec in arguments:
        assert indices.slot.tolist() == sampled_slots(uniform).tolist()
        assert weight.tolist() == np.ones((2, 32)).tolist()
        assert tensor(gamma).numpy().dtype == GAMMA.dtype
        assert gamma.tolist() == GAMMA.tolist()
        assert tensor(gamma).data_ptr() == tensor(sampler.storage.gamma).data_ptr()
        assert spec is sampler.spec is SPEC
    assert calls.gamma[0] is sampler.storage.gamma
    assert batch.action.shape == (2, 32)


def test_uniform_sampling_has_no_state_and_ignores_errors() -> None:
    stream = filled_stream()
    sampler = UNIFORM.sampler(stream, SPEC, GAMMA)
    batches = []
    for error in (1.0, 1e6):
        sampler.on_rollout(lambda obs: obs)
        batch = next_transitions(sampler, numbers(np.random.default_rng(2), 2), error / 1e6)
        update_priorities(sampler, np.full((2, 32), error), np.full((2, 32), error))
        batches.append(batch)
    assert same(*batches)
    assert sampler.contents(0) == sampler.contents(1) == {}
    assert sampler.nbytes == 0
    sampler.load({}, 1)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (Replay, ()),
        (Buffer, (CPU,)),
        (Uniform, (CPU,)),
        (Prioritised, (CPU, 0.6, 0.4, 1.0, Priority.loss, 1e-6)),
        (Rollout, (0.9,)),
    ],
)
def test_a_batch_larger_than_the_buffer_is_refused(
    kind: type[Replay], more: tuple[Any, ...]
) -> None:
    with pytest.raises(ValueError, match=r"batch_size=9 .* replay.capacity=8: a batch must fit"):
        kind(8, 9, 1, *more)


def test_a_batch_as_large_as_the_buffer_is_possible() -> None:
    assert Uniform(capacity=8, batch_size=8, n_step=1, device=CPU).batch_size == 8


@pytest.mark.parametrize("device", ReplayDevice)
def test_only_buffers_choose_the_device_of_observations(device: ReplayDevice) -> None:
    prioritised = Prioritised(8, 8, 1, device, 0.6, 0.4, 1.0, Priority.loss, 1e-6)
    for buffer in (Uniform(8, 8, 1, device), prioritised):
        assert buffer.observation_device is device
    for replay in (Replay(8, 8, 1), Rollout(8, 8, 1, 0.9)):
        assert replay.observation_device is CPU


def test_a_new_replay_must_implement_its_sampling() -> None:
    replay, stream = Replay(8, 8, 1), filled_stream()
    with pytest.raises(NotImplementedError):
        replay.sampler(stream, SPEC, GAMMA)
    sampler = Sampler(replay, stream, SPEC, GAMMA)
    with pytest.raises(NotImplementedError):
        sampler.draw(numbers(np.random.default_rng(0), 2), [0, 0])
    with pytest.raises(NotImplementedError):
        sampler.sample(sampler.storage, Draw(np.zeros((2, 8))))


PRIORITISED = Prioritised(30, 5, 2, CPU, 0.6, 0.4, 1.0, Priority.loss, 1e-6)
ROLLOUT = Rollout(30, 5, 1, 0.9)
BUFFERS = [
    pytest.param(Uniform(30, 5, 2, CPU), transitions_spec(2), id="uniform"),
    pytest.param(Uniform(30, 5, 2, CPU), sequences_spec(1, 3, 2), id="uniform-sequences"),
    pytest.param(PRIORITISED, transitions_spec(2), id="prioritised"),
    pytest.param(PRIORITISED, sequences_spec(1, 3, 2), id="prioritised-sequences"),
    pytest.param(Uniform(30, 5, 2, CPU), transitions_spec(2, 4), id="uniform-frames"),
    pytest.param(Uniform(30, 5, 2, CPU), sequences_spec(1, 3, 2, 2), id="uniform-frames-sequences"),
    pytest.param(PRIORITISED, transitions_spec(2, 1), id="prioritised-frames"),
]
ROLLOUTS = [
    pytest.param(ROLLOUT, transitions_spec(), id="rollout"),
    pytest.param(ROLLOUT, transitions_spec(1, 4), id="rollout-frames"),
]
every_kind = pytest.mark.parametrize(("replay", "spec"), BUFFERS + ROLLOUTS)
every_buffer = pytest.mark.parametrize(("replay", "spec"), BUFFERS)


def at_work(
    replay: Replay, spec: BatchSpec, window: int = 5, device: str = "cpu"
) -> tuple[Envs, Sampler[Replay]]:
    """A sampler after its first update, on rings that have wrapped."""
    envs = recorded_envs(4, 2, 2, True, 0.2, 0.1, spec.frames)
    stream = stream_of(envs, 30, window, True, device)  # five slots are the sequences' window
    sampler = replay.sampler(stream, spec, GAMMA)
    go_on(envs, sampler, 30)
    return envs, sampler


def go_on(envs: Envs, sampler: Sampler[Replay], steps: int) -> None:
    random = np.random.default_rng(steps)
    step_all(envs, sampler.stream, random, steps)
    sampler.on_rollout(lambda obs: np.zeros((*obs.shape[:2], ACTIONS)))
    next_batch(sampler, numbers(random, 2))
    update_priorities(sampler, *random.exponential(size=(2, 2, 5)))


def equal(one: Iterable[Values], other: Iterable[Values]) -> bool:
    return all(torch.equal(tensor(a), tensor(b)) for a, b in zip(one, other, strict=True))


Form = Callable[[Any], Any]
every_form = pytest.mark.parametrize(
    ("replay", "spec", "form"),
    [
        pytest.param(*kind.values, form, id=f"{kind.id}-{form.__name__}")
        for form in (as_they_are, as_tensors)
        for kind in BUFFERS + ROLLOUTS
    ],
)


@every_form
def test_a_batch_is_the_same_again_and_changes_nothing(
    replay: Replay, spec: BatchSpec, form: Form
) -> None:
    _, sampler = at_work(replay, spec)
    draw = form(sampler.draw(numbers(np.random.default_rng(0), 2), HALF))
    storage = form(sampler.storage)
    before = copy.deepcopy((storage, draw))
    kept = kept_of(sampler.stream, sampler)
    assert same(sample_batch(sampler, storage, draw), sample_batch(sampler, storage, draw))
    assert equal(leaves_of(storage), leaves_of(before[0]))
    assert equal(leaves_of(draw), leaves_of(before[1]))
    assert same_contents(kept_of(sampler.stream, sampler), kept)


@every_form
def test_a_batch_depends_on_storage_and_draw_alone(
    replay: Replay, spec: BatchSpec, form: Form
) -> None:
    envs, sampler = at_work(replay, spec)
    draw = form(sampler.draw(numbers(np.random.default_rng(0), 2), HALF))
    batch = sample_batch(sampler, form(sampler.storage), draw)
    storage, kept = copy.deepcopy((form(sampler.storage), batch))
    go_on(envs, sampler, 50)  # nothing of what was there is left
    assert same(batch, kept)
    assert same(sample_batch(sampler, storage, draw), kept)
    myopic = sample_batch(sampler, storage._replace(gamma=storage.gamma * 0), draw)
    assert not myopic.discount.any()


@every_buffer
def test_a_recorded_batch_holds_for_later_draws(replay: Replay, spec: BatchSpec) -> None:
    # A function that reads a number out of a tensor, or keeps one, can't be compiled.
    envs, sampler = at_work(replay, spec)
    draw = sampler.draw(numbers(np.random.default_rng(0), 2), HALF)
    storage = as_tensors(sampler.storage)
    record = make_fx(partial(sample_batch, sampler))(storage, as_tensors(draw))
    for steps in (1, 7, 50):
        go_on(envs, sampler, steps)
        draw = sampler.draw(numbers(np.random.default_rng(steps), 2), HALF)
        batch = batch_of(sampler, draw)
        assert isinstance(batch, Batch | Sequences)
        in_tensors = as_tensors(draw)
        assert same(record(storage, in_tensors), sample_batch(sampler, storage, in_tensors))


@every_kind
def test_only_rollouts_are_stored_in_new_arrays(replay: Replay, spec: BatchSpec) -> None:
    envs, sampler = at_work(replay, spec)
    stream, gamma, priorities, rollout, data, n_step = sampler.storage
    assert data is None
    assert n_step is None
    go_on(envs, sampler, 20)
    kept = kept_of(sampler.stream, sampler)
    go_on(envs, sampler, 20)
    go_on_from(kept, sampler.stream, sampler)
    assert all(now is then for now, then in zip(sampler.storage.stream, stream, strict=True))
    assert sampler.storage.gamma is gamma
    own = zip(leaves_of(sampler.storage.priorities), leaves_of(priorities), strict=True)
    assert all(now is then for now, then in own)
    assert np.array_equal(stream.obs, np.concatenate([each["obs"] for each, _ in kept]))
    assert sampler.storage_is_fixed == (sampler.storage.rollout is rollout)
    assert sampler.storage_is_fixed == isinstance(replay, Buffer)


@every_kind
def test_batches_are_the_same_wherever_observations_are_kept(
    replay: Replay, spec: BatchSpec
) -> None:
    (envs, one), (others, other) = (
        at_work(replay, spec, device=device) for device in ("cpu", IN_TENSORS)
    )
    assert isinstance(other.stream.obs, torch.Tensor)
    for seed in range(4):
        go_on(envs, one, 9)
        go_on(others, other, 9)
        batches = [
            next_batch(sampler, numbers(np.random.default_rng(seed), 2), 0.5)
            for sampler in (one, other)
        ]
        assert same(*batches)
    assert same_contents(kept_of(one.stream, one), kept_of(other.stream, other))


@every_kind
def test_draws_have_members_in_front(replay: Replay, spec: BatchSpec) -> None:
    _, sampler = at_work(replay, spec)
    draw = sampler.draw(numbers(np.random.default_rng(0), 2), HALF)
    assert draw.numbers.shape[:2] == (2, 5)
    assert {each.shape[0] for each in leaves_of(draw)} == {2}


def alone(sampler: Sampler[Replay], member: int) -> Sampler[Replay]:
    """A member of a population, on its own in a stream and a sampler that are new."""
    window = sampler.stream.window
    fresh = recorded_envs(99, 1, 2, True, frames=sampler.spec.frames)
    stream = stream_of(fresh, 30, window, True)
    mine = sampler.replay.sampler(stream, sampler.spec, GAMMA[member : member + 1])
    go_on_from(kept_of(sampler.stream, sampler)[member : member + 1], stream, mine)
    return mine


def only(uniforms: Callable[..., Array], member: int) -> Callable[..., Array]:
    """A member's row of the numbers of all."""
    return lambda *shape: uniforms(*shape)[member : member + 1]


def of_member(batch: Batch | Sequences, member: int) -> Batch | Sequences:
    each = (values[member : member + 1] for values in batch)
    return Batch(*each) if isinstance(batch, Batch) else Sequences(*each)


@pytest.mark.parametrize("member", [0, 1])
@every_kind
def test_a_member_goes_on_alone_with_the_batches_it_had_among_others(
    replay: Replay, spec: BatchSpec, member: int
) -> None:
    envs, together = at_work(replay, spec, 1 if isinstance(replay, Rollout) else 5)
    step_all(envs, together.stream, np.random.default_rng(6), 7)  # not sampled from yet
    mine = alone(together, member)
    for sampler in (together, mine):
        sampler.on_rollout(lambda obs: np.zeros((*obs.shape[:2], ACTIONS)))
    for seed in range(4):
        uniforms = [numbers(np.random.default_rng(seed), 2) for _ in range(2)]
        batch = next_batch(together, uniforms[0], 0.5)
        own = next_batch(mine, only(uniforms[1], member), 0.5)
        assert same(own, of_member(batch, member))
        errors = np.random.default_rng(seed).exponential(size=(2, 2, 5))
        update_priorities(together, *errors)
        update_priorities(mine, *errors[:, [member]])
