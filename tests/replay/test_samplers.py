from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from dqn_cli.replay.samplers import Replay, Uniform
from dqn_cli.replay.stream import Stream

SIZES = [[3, 0, 7], [0, 13, 2]]  # transitions in the rings of two members
CAPACITY = 13  # of one ring
UNIFORM = Uniform(capacity=39, batch_size=32, n_step=1)


def filled_stream() -> Stream:
    """Rings of SIZES; slot 100 * ring + k is the k-th oldest, and the queues have wrapped."""
    members, envs = np.shape(SIZES)
    mask = np.ones((members, envs, 2), bool)
    stream = Stream(CAPACITY * envs, 1, np.zeros((members, envs, 1)), mask, False)
    ring, k = np.indices((members * envs, CAPACITY))
    first = np.array([0, 5, 9, 12, 4, 25])
    queue = np.zeros((members * envs, CAPACITY), np.int64)
    queue[ring, (first[:, None] + k) % CAPACITY] = 100 * ring + k
    stream.load(stream.state() | {"queue": queue, "first": first, "count": np.ravel(SIZES)})
    return stream


def stored(member: int) -> list[int]:
    """The slots that a member can sample, in the order of its rings."""
    rings = enumerate(SIZES[member], 3 * member)
    return [100 * ring + k for ring, size in rings for k in range(size)]


def draw(uniform: NDArray[np.float64]) -> NDArray[np.int64]:
    indices = UNIFORM.indices(filled_stream(), uniform)
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


@pytest.mark.parametrize("kind", [Replay, Uniform])
def test_a_batch_larger_than_the_buffer_is_refused(kind: type[Replay]) -> None:
    with pytest.raises(ValueError, match=r"batch_size=9 .* replay.capacity=8: a batch must fit"):
        kind(capacity=8, batch_size=9, n_step=1)


def test_a_batch_as_large_as_the_buffer_is_possible() -> None:
    assert Uniform(capacity=8, batch_size=8, n_step=1).batch_size == 8
