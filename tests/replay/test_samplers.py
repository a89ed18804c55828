from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from recorded_envs import numbers

from dqn_cli.agent.batch import Batch
from dqn_cli.replay.prioritised import Prioritised, Priority
from dqn_cli.replay.rollouts import Rollout
from dqn_cli.replay.samplers import Replay, Sampler, Uniform, UniformSampler
from dqn_cli.replay.stream import Indices, Stream
from dqn_cli.replay.views import transitions

SIZES = [[3, 0, 7], [0, 13, 2]]  # transitions in the rings of two members
CAPACITY = 13  # of one ring
UNIFORM = Uniform(capacity=39, batch_size=32, n_step=1)
GAMMA = np.array([0.9, 0.5])


def filled_stream() -> Stream:
    """Rings of SIZES; slot 100 * ring + k is the k-th oldest, and the queues have wrapped."""
    members, envs = np.shape(SIZES)
    mask = np.ones((members, envs, 2), bool)
    stream = Stream(CAPACITY * envs, 1, np.zeros((members, envs, 1)), mask, False)
    ring, k = np.indices((members * envs, CAPACITY))
    first = np.array([0, 5, 9, 12, 4, 25])
    queue = np.zeros((members * envs, CAPACITY), np.int64)
    queue[ring, (first[:, None] + k) % CAPACITY] = 100 * ring + k
    stream.load(stream.contents() | {"queue": queue, "first": first, "count": np.ravel(SIZES)})
    return stream


def stored(member: int) -> list[int]:
    """The slots that a member can sample, in the order of its rings."""
    rings = enumerate(SIZES[member], 3 * member)
    return [100 * ring + k for ring, size in rings for k in range(size)]


def draw(uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    sampler = UNIFORM.sampler(filled_stream(), transitions)
    assert isinstance(sampler, UniformSampler)
    indices = sampler.locate(uniform)
    assert (indices.slot // 100 == indices.ring).all()
    return np.asarray(indices.slot)


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
    asked: list[Any] = []

    def view(stream: Stream, indices: Indices, weight: Any, gamma: Any) -> Batch:
        asked.append((indices, weight, gamma))
        return transitions(stream, indices, weight, gamma)

    stream = filled_stream()
    sampler = UNIFORM.sampler(stream, view)
    uniform = numbers(np.random.default_rng(1), 2)(32)
    batch = sampler.sample(lambda size: uniform[:, :size], GAMMA, 0.5)
    ((indices, weight, gamma),) = asked
    assert indices.slot.tolist() == draw(uniform).tolist()
    assert weight.tolist() == np.ones((2, 32)).tolist()
    assert gamma is GAMMA
    assert batch.action.shape == (2, 32)


def test_uniform_sampling_remembers_nothing_and_learns_nothing() -> None:
    stream = filled_stream()
    sampler = UNIFORM.sampler(stream, transitions)
    batches = []
    for surprise in (1.0, 1e6):
        sampler.begin(lambda obs: obs, GAMMA)
        batch = sampler.sample(numbers(np.random.default_rng(2), 2), GAMMA, surprise / 1e6)
        sampler.learned(np.full((2, 32), surprise), np.full((2, 32), surprise))
        batches.append(batch)
    assert all((one == other).all() for one, other in zip(*batches, strict=True))
    assert sampler.contents() == {}
    assert sampler.nbytes == 0
    sampler.load({})


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
        kind(8, 9, 1, *more)


def test_a_batch_as_large_as_the_buffer_is_possible() -> None:
    assert Uniform(capacity=8, batch_size=8, n_step=1).batch_size == 8


def test_a_kind_must_say_what_draws() -> None:
    replay, stream = Replay(8, 8, 1), filled_stream()
    with pytest.raises(NotImplementedError):
        replay.sampler(stream, transitions)
    with pytest.raises(NotImplementedError):
        Sampler(replay, stream, transitions).sample(numbers(np.random.default_rng(0), 2), GAMMA, 0)
