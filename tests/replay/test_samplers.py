from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
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
    drawn_by,
    frames_of,
    go_on_from,
    kept_of,
    learn,
    leaves_of,
    made,
    numbers,
    recorded_envs,
    same,
    same_contents,
    sampled,
    sequences_view,
    step_all,
    stream_of,
    transitions_view,
)
from torch.fx.experimental.proxy_tensor import make_fx

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.arrays import Array, Values, tensor
from dqn_cli.replay.batches import BatchSpec, View, transitions
from dqn_cli.replay.prioritised import Prioritised, Priority
from dqn_cli.replay.rollouts import Rollout
from dqn_cli.replay.samplers import ReplayDevice, Replay, Sampler, Uniform, UniformSampler
from dqn_cli.replay.stream import Indices, Stream, StreamStorage

SIZES = [[3, 0, 7], [0, 13, 2]]  # transitions in the rings of two members
CAPACITY = 13  # of one ring
CPU = ReplayDevice.cpu
UNIFORM = Uniform(capacity=39, batch_size=32, n_step=1, device=CPU)
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
class Asked:
    """A view that remembers what it was asked for."""

    indices: list[Indices] = field(default_factory=list)
    weight: list[Values] = field(default_factory=list)
    gamma: list[Values] = field(default_factory=list)

    def __call__(
        self, stored: StreamStorage, indices: Indices, weight: Values, gamma: Values
    ) -> Batch:
        self.indices.append(indices)
        self.weight.append(weight)
        self.gamma.append(gamma)
        return transitions(stored, indices, weight, gamma, BatchSpec(1, 2, 0, False))


def draw(uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    asked = Asked()
    sampler = Uniform(10**6, uniform.shape[1], 1, CPU).sampler(filled_stream(), asked, GAMMA)
    assert isinstance(sampler, UniformSampler)
    sampled(sampler, lambda size: uniform[:, :size])
    (ring, slot), in_tensors = asked.indices
    assert equal(in_tensors, (ring, slot))
    assert (slot // 100 == ring).all()
    assert isinstance(slot, np.ndarray)
    return slot


@pytest.mark.parametrize("member", [0, 1])
def test_the_unit_interval_is_cut_into_equal_parts_for_the_stored_transitions(member: int) -> None:
    slots = stored(member)
    uniform = (np.arange(4 * len(slots)) + 0.5) / (4 * len(slots))
    assert draw(np.stack([uniform, uniform]))[member].tolist() == np.repeat(slots, 4).tolist()


def test_the_ends_of_the_unit_interval_are_the_first_and_the_last_transition() -> None:
    ends = np.array([0.0, np.nextafter(1.0, 0.0)])
    assert draw(np.stack([ends, ends])).tolist() == [[0, 206], [400, 501]]


def test_members_draw_with_their_own_numbers() -> None:
    # the fourth of ten is the oldest of ring 2, the last of fifteen the newest of ring 5
    assert draw(np.array([[0.35], [0.99]])).tolist() == [[200], [501]]


def test_every_stored_transition_is_equally_likely_whatever_its_rings_fill() -> None:
    drawn = draw(np.random.default_rng(0).random((2, 30_000)))
    # 0.1 % points of chi-square with 9 and with 14 degrees of freedom
    for member, limit in enumerate([27.9, 36.1]):
        slots, counts = np.unique(drawn[member], return_counts=True)
        assert slots.tolist() == stored(member)
        expected = 30_000 / len(slots)
        assert ((counts - expected) ** 2 / expected).sum() < limit


def test_a_batch_is_what_the_view_makes_of_the_drawn_places_with_weight_one() -> None:
    asked = Asked()
    sampler = UNIFORM.sampler(filled_stream(), asked, GAMMA)
    uniform = numbers(np.random.default_rng(1), 2)(32)
    batch = sampled(sampler, lambda size: uniform[:, :size], 0.5)
    asked_for = [*zip(asked.indices, asked.weight, asked.gamma, strict=True)]
    assert len(asked_for) == 2  # of arrays, and of tensors
    for indices, weight, gamma in asked_for:
        assert indices.slot.tolist() == draw(uniform).tolist()
        assert weight.tolist() == np.ones((2, 32)).tolist()
        assert tensor(gamma).numpy().dtype == GAMMA.dtype
        assert gamma.tolist() == GAMMA.tolist()
        assert tensor(gamma).data_ptr() == tensor(sampler.sources.gamma).data_ptr()
    assert asked.gamma[0] is sampler.sources.gamma
    assert batch.action.shape == (2, 32)


def test_uniform_sampling_remembers_nothing_and_learns_nothing() -> None:
    stream = filled_stream()
    sampler = UNIFORM.sampler(stream, Asked(), GAMMA)
    batches = []
    for surprise in (1.0, 1e6):
        sampler.begin(lambda obs: obs)
        batch = sampled(sampler, numbers(np.random.default_rng(2), 2), surprise / 1e6)
        learn(sampler, np.full((2, 32), surprise), np.full((2, 32), surprise))
        batches.append(batch)
    assert same(*batches)
    assert sampler.contents(0) == sampler.contents(1) == {}
    assert sampler.nbytes == 0
    sampler.load({}, 1)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        (Replay, ()),
        (Uniform, ()),
        (Prioritised, (0.6, 0.4, 1.0, Priority.loss, 1e-6)),
        (Rollout, (0.9,)),
    ],
)
def test_a_batch_larger_than_the_buffer_is_refused(
    kind: type[Replay], more: tuple[Any, ...]
) -> None:
    with pytest.raises(ValueError, match=r"batch_size=9 .* replay.capacity=8: a batch must fit"):
        kind(8, 9, 1, CPU, *more)


def test_a_batch_as_large_as_the_buffer_is_possible() -> None:
    assert Uniform(capacity=8, batch_size=8, n_step=1, device=CPU).batch_size == 8


def test_a_kind_must_say_what_draws() -> None:
    replay, stream = Replay(8, 8, 1, CPU), filled_stream()
    with pytest.raises(NotImplementedError):
        replay.sampler(stream, Asked(), GAMMA)
    sampler = Sampler(replay, stream, Asked(), GAMMA)
    with pytest.raises(NotImplementedError):
        sampler.draw(numbers(np.random.default_rng(0), 2), [0, 0])
    with pytest.raises(NotImplementedError):
        sampler.pick(sampler.sources, ())


PRIORITISED = Prioritised(30, 5, 2, CPU, 0.6, 0.4, 1.0, Priority.loss, 1e-6)
KINDS = [
    pytest.param(Uniform(30, 5, 2, CPU), transitions_view(2), id="uniform"),
    pytest.param(Uniform(30, 5, 2, CPU), sequences_view(1, 3, 2), id="uniform-sequences"),
    pytest.param(PRIORITISED, transitions_view(2), id="prioritised"),
    pytest.param(PRIORITISED, sequences_view(1, 3, 2), id="prioritised-sequences"),
    pytest.param(Rollout(30, 5, 1, CPU, 0.9), transitions_view(), id="rollout"),
    pytest.param(Uniform(30, 5, 2, CPU), transitions_view(2, 4), id="uniform-frames"),
    pytest.param(Uniform(30, 5, 2, CPU), sequences_view(1, 3, 2, 2), id="uniform-frames-sequences"),
    pytest.param(PRIORITISED, transitions_view(2, 1), id="prioritised-frames"),
    pytest.param(Rollout(30, 5, 1, CPU, 0.9), transitions_view(1, 4), id="rollout-frames"),
]
every_kind = pytest.mark.parametrize(("replay", "view"), KINDS)


def at_work(
    replay: Replay, view: View, window: int = 5, device: str = "cpu"
) -> tuple[Envs, Sampler[Replay]]:
    """A sampler that has learned from a batch, on rings that have wrapped."""
    envs = recorded_envs(4, 2, 2, True, 0.2, 0.1, frames_of(view))
    stream = stream_of(envs, 30, window, True, device)  # five slots are the sequences' window
    sampler = replay.sampler(stream, view, GAMMA)
    go_on(envs, sampler, 30)
    return envs, sampler


def go_on(envs: Envs, sampler: Sampler[Replay], steps: int) -> None:
    random = np.random.default_rng(steps)
    step_all(envs, sampler.stream, random, steps)
    sampler.begin(lambda obs: np.zeros((*obs.shape[:2], ACTIONS)))
    drawn_by(sampler, numbers(random, 2))
    learn(sampler, *random.exponential(size=(2, 2, 5)))


def equal(one: Iterable[Values], other: Iterable[Values]) -> bool:
    return all(torch.equal(tensor(a), tensor(b)) for a, b in zip(one, other, strict=True))


Given = Callable[[Any], Any]
however_given = pytest.mark.parametrize("given", [as_they_are, as_tensors])


@however_given
@every_kind
def test_a_batch_is_the_same_again_and_changes_nothing(
    replay: Replay, view: View, given: Given
) -> None:
    _, sampler = at_work(replay, view)
    drawn = given(sampler.draw(numbers(np.random.default_rng(0), 2), HALF))
    sources = given(sampler.sources)
    before = copy.deepcopy((sources, drawn))
    kept = kept_of(sampler.stream, sampler)
    assert same(made(sampler, sources, drawn), made(sampler, sources, drawn))
    assert equal(leaves_of(sources), leaves_of(before[0]))
    assert equal(drawn, before[1])
    assert same_contents(kept_of(sampler.stream, sampler), kept)


@however_given
@every_kind
def test_a_batch_depends_on_sources_and_draw_alone(
    replay: Replay, view: View, given: Given
) -> None:
    envs, sampler = at_work(replay, view)
    drawn = given(sampler.draw(numbers(np.random.default_rng(0), 2), HALF))
    batch = made(sampler, given(sampler.sources), drawn)
    sources, kept = copy.deepcopy((given(sampler.sources), batch))
    go_on(envs, sampler, 50)  # nothing of what was there is left
    assert same(batch, kept)
    assert same(made(sampler, sources, drawn), kept)
    myopic = made(sampler, sources._replace(gamma=sources.gamma * 0), drawn)
    assert not myopic.discount.any()


@every_kind
def test_a_recorded_batch_holds_for_later_draws(replay: Replay, view: View) -> None:
    # What reads a number out of a tensor, or remembers one, can't be compiled into an update.
    envs, sampler = at_work(replay, view)
    drawn = sampler.draw(numbers(np.random.default_rng(0), 2), HALF)
    sources = as_tensors(sampler.sources)
    record = make_fx(partial(made, sampler))(sources, as_tensors(drawn))
    for steps in (1, 7, 50):
        go_on(envs, sampler, steps)
        drawn = sampler.draw(numbers(np.random.default_rng(steps), 2), HALF)
        batch = batch_of(sampler, drawn)
        assert isinstance(batch, Batch | Sequences)
        assert same(record(sources, as_tensors(drawn)), made(sampler, sources, as_tensors(drawn)))


@every_kind
def test_sources_are_the_same_arrays_for_good(replay: Replay, view: View) -> None:
    envs, sampler = at_work(replay, view)
    stored, gamma, memory = sampler.sources
    go_on(envs, sampler, 20)
    kept = kept_of(sampler.stream, sampler)
    go_on(envs, sampler, 20)
    go_on_from(kept, sampler.stream, sampler)
    assert all(now is then for now, then in zip(sampler.sources.storage, stored, strict=True))
    assert sampler.sources.gamma is gamma
    own = zip(leaves_of(sampler.sources.memory), leaves_of(memory), strict=True)
    assert all(now is then for now, then in own)
    assert np.array_equal(stored.obs, np.concatenate([each["obs"] for each, _ in kept]))


@every_kind
def test_batches_are_the_same_wherever_observations_are_kept(replay: Replay, view: View) -> None:
    (envs, one), (others, other) = (
        at_work(replay, view, device=device) for device in ("cpu", IN_TENSORS)
    )
    assert isinstance(other.stream.obs, torch.Tensor)
    for seed in range(4):
        go_on(envs, one, 9)
        go_on(others, other, 9)
        batches = [
            drawn_by(sampler, numbers(np.random.default_rng(seed), 2), 0.5)
            for sampler in (one, other)
        ]
        assert same(*batches)
    assert same_contents(kept_of(one.stream, one), kept_of(other.stream, other))


@every_kind
def test_draws_have_members_in_front(replay: Replay, view: View) -> None:
    _, sampler = at_work(replay, view)
    drawn = sampler.draw(numbers(np.random.default_rng(0), 2), HALF)
    assert drawn[0].shape[:2] == (2, 5)
    assert {each.shape[0] for each in drawn} == {2}


def alone(sampler: Sampler[Replay], member: int) -> Sampler[Replay]:
    """A member of a population, on its own in a stream and a sampler that are new."""
    window = sampler.stream.window
    fresh = recorded_envs(99, 1, 2, True, frames=frames_of(sampler.view))
    stream = stream_of(fresh, 30, window, True)
    mine = sampler.replay.sampler(stream, sampler.view, GAMMA[member : member + 1])
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
    replay: Replay, view: View, member: int
) -> None:
    envs, together = at_work(replay, view, 1 if isinstance(replay, Rollout) else 5)
    step_all(envs, together.stream, np.random.default_rng(6), 7)  # what is not learned from yet
    mine = alone(together, member)
    for sampler in (together, mine):
        sampler.begin(lambda obs: np.zeros((*obs.shape[:2], ACTIONS)))
    for seed in range(4):
        uniforms = [numbers(np.random.default_rng(seed), 2) for _ in range(2)]
        batch = drawn_by(together, uniforms[0], 0.5)
        own = drawn_by(mine, only(uniforms[1], member), 0.5)
        assert same(own, of_member(batch, member))
        surprise = np.random.default_rng(seed).exponential(size=(2, 2, 5))
        learn(together, *surprise)
        learn(mine, *surprise[:, [member]])
