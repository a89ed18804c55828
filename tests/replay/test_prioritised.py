from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from recorded_envs import (
    FRAME,
    IN_TENSORS,
    Envs,
    append,
    empty_stream,
    go_on_from,
    kept_of,
    latest_samples,
    leaves_of,
    next_batch,
    next_transitions,
    numbers,
    recorded_envs,
    same,
    same_contents,
    sequences_spec,
    step_all,
    stream_of,
    transitions_spec,
    update_priorities,
)

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.agent.metrics import SampleErrors
from dqn_cli.arrays import Array
from dqn_cli.replay.batches import BatchSpec
from dqn_cli.replay.prioritised import Prioritised, PrioritisedSampler, Priority
from dqn_cli.replay.samplers import ReplayDevice
from dqn_cli.replay.stream import Stream

GAMMA = np.array([0.9, 0.5])
KEY = dict[tuple[int, int], float]


def sampler_of(
    stream: Stream, batch_size: int, spec: BatchSpec | None = None, **changes: Any
) -> PrioritisedSampler:
    settings = {"alpha": 1.0, "beta": 1.0, "beta_end": 1.0, "eps": 1.0}
    settings |= {"priority": Priority.td_error, **changes}
    replay = Prioritised(10**6, batch_size, 1, ReplayDevice.cpu, **settings)
    spec = spec or transitions_spec(stream.window, stream.frames)
    sampler = replay.sampler(stream, spec, GAMMA[: stream.members])
    assert isinstance(sampler, PrioritisedSampler)
    return sampler


def middles(members: int = 1) -> Callable[[int], Array]:
    """The middle of each share, in place of random numbers."""
    return lambda size: np.full((members, size), 0.5)


@dataclass
class ReferenceScores:
    """Every stored transition's priority, by its ring and its slot."""

    envs: Envs
    stream: Stream
    alpha: float = 1.0
    eps: float = 1.0
    largest: list[float] = field(default_factory=lambda: [1.0, 1.0])
    priorities: list[KEY] = field(default_factory=lambda: [{}, {}])

    def catch_up(self) -> None:
        for member, row in enumerate(self.envs):
            stored = [(env.ring, place) for env in row for place in env.reachable(self.stream)]
            known = self.priorities[member]
            self.priorities[member] = {key: known.get(key, self.largest[member]) for key in stored}

    def of(self, batch: Batch) -> Array:
        """The priorities of sampled transitions [members, batch]; KeyError if one is not stored."""
        return np.array([[self.priorities[m][key] for key in row] for m, row in keys(batch)])

    def update(self, batch: Batch, error: Array) -> None:
        for member, row in keys(batch):
            for key, each in zip(row, error[member].tolist(), strict=True):
                priority = (each + self.eps) ** self.alpha
                self.priorities[member][key] = priority
                self.largest[member] = max(self.largest[member], priority)


def keys(batch: Batch) -> list[tuple[int, list[tuple[int, int]]]]:
    """Ring and slot of each sampled transition, as its observation's newest frame tells them."""
    rows = batch.obs.numpy().astype(int)
    rows = rows.reshape(*rows.shape[:2], -1, FRAME)[:, :, -1]
    return [(m, [(ring, count - 1) for ring, count in row]) for m, row in enumerate(rows.tolist())]


def both(
    seed: int,
    members: int,
    envs: int,
    end_chance: float,
    capacity: int,
    frames: int = 0,
    device: str = "cpu",
    **changes: Any,
) -> tuple[PrioritisedSampler, ReferenceScores]:
    recorded = recorded_envs(seed, members, envs, True, end_chance, 0.1, frames)
    stream = stream_of(recorded, capacity, 1 + seed % 3, True, device)
    sampler = sampler_of(stream, 8, **changes)
    return sampler, ReferenceScores(recorded, stream, sampler.replay.alpha, sampler.replay.eps)


def live(
    sampler: PrioritisedSampler,
    reference: ReferenceScores,
    random: np.random.Generator,
    rounds: int,
) -> None:
    """Stores, samples and updates at random, and compares with the reference."""
    stream, beta = sampler.stream, 0.7
    members = stream.members
    for _ in range(rounds):
        count = int(random.choice([1, 1, 2, stream.capacity // 2, 3 * stream.capacity]))
        step_all(reference.envs, stream, random, max(count, stream.window))
        reference.catch_up()
        for _ in range(3):
            batch = next_transitions(sampler, numbers(random, members))
            priority = reference.of(batch)
            weight = (priority.min(1, keepdims=True) / priority) ** beta
            np.testing.assert_allclose(batch.weight.numpy(), weight, rtol=1e-9)
            loss, td_error = (random.exponential(size=(members, 8)) for _ in range(2))
            update_priorities(sampler, loss, td_error)
            reference.update(batch, td_error)


@pytest.mark.parametrize("seed", range(20))
def test_priorities_follow_transitions_through_their_lives(seed: int) -> None:
    random = np.random.default_rng(seed)
    shape = (1 + seed % 2, int(random.integers(1, 4)), float(random.choice([0.0, 0.1, 0.6])))
    capacity = int(random.choice([8, 20, 100]))
    sampler, reference = both(seed, *shape, capacity, alpha=0.6, eps=0.01, beta=0.7, beta_end=0.7)
    live(sampler, reference, random, 15)


def with_priority(sampler: PrioritisedSampler) -> set[tuple[int, int]]:
    """Ring and slot of what each leaf with a priority stands for."""
    stream = sampler.stream
    leaf = sampler.priorities.tree.leaves[:, : stream.envs * stream.capacity].reshape(
        -1, stream.capacity
    )
    rings, places = leaf.nonzero()
    slots = stream.queue[rings, places]
    assert sampler.priorities.tree.leaves.astype(bool).sum() == rings.size
    return set(zip(rings.tolist(), slots.tolist(), strict=True))


@pytest.mark.parametrize("device", ["cpu", IN_TENSORS])
@pytest.mark.parametrize("frames", [1, 2, 4])
@pytest.mark.parametrize("seed", range(6))
def test_with_frames_only_what_can_be_sampled_has_a_priority(
    seed: int, frames: int, device: str
) -> None:
    random, capacity = np.random.default_rng(seed), [1, 2, 3, 8, 20, 100][seed]
    shape = (1 + seed % 2, int(random.integers(1, 4)), float(random.choice([0.1, 0.6])), capacity)
    sampler, reference = both(seed, *shape, frames, device, beta=0.7, beta_end=0.7)
    for _ in range(4):
        live(sampler, reference, random, 3)
        step_all(reference.envs, sampler.stream, random, 3)
        sampler.catch_up()
        reference.catch_up()
        assert with_priority(sampler) == {key for known in reference.priorities for key in known}


def limit(degrees: int) -> float:
    """Chi-square is above this with p < 1e-4 (Laurent & Massart 2000, lemma 1, x = 9.21)."""
    return degrees + 2 * (9.21 * degrees) ** 0.5 + 2 * 9.21


def check_frequencies(
    sampler: PrioritisedSampler, reference: ReferenceScores, random: np.random.Generator
) -> None:
    reference.catch_up()
    members, draws = sampler.stream.members, 500
    counts = [dict.fromkeys(mine, 0) for mine in reference.priorities]
    for _ in range(draws):
        for member, row in keys(next_transitions(sampler, numbers(random, members))):
            for key in row:
                counts[member][key] += 1
    for member in range(members):
        priority = np.array(list(reference.priorities[member].values()))
        expected = draws * 8 * priority / priority.sum()
        found = np.array(list(counts[member].values()))
        assert ((found - expected) ** 2 / expected).sum() < limit(len(priority) - 1)


@pytest.mark.parametrize(("members", "envs"), [(1, 1), (1, 3), (2, 2)])
@pytest.mark.parametrize("end_chance", [0.0, 0.4])
def test_frequencies_match_priorities_after_the_rings_wrapped_around(
    members: int, envs: int, end_chance: float
) -> None:
    random = np.random.default_rng(7)
    sampler, reference = both(0, members, envs, end_chance, 24, beta=0.7, beta_end=0.7)
    live(sampler, reference, random, 12)
    check_frequencies(sampler, reference, random)
    step_all(reference.envs, sampler.stream, random, 3)  # some go, some come
    check_frequencies(sampler, reference, random)


def stream_of_three() -> Stream:
    """Transitions from the observations 0, 1 and 2."""
    stream = empty_stream(1, 1, 6)
    for to in range(1, 4):
        append(stream, to)
    return stream


def sampler_with_errors(**changes: Any) -> PrioritisedSampler:
    """TD errors of 0, 1 and 3 for the three, and losses of 7, 3 and 0."""
    sampler = sampler_of(stream_of_three(), 3, **changes)
    assert next_transitions(sampler, middles()).obs.tolist() == [[[0], [1], [2]]]
    update_priorities(sampler, np.array([[7.0, 3.0, 0.0]]), np.array([[0.0, 1.0, 3.0]]))
    return sampler


def weights_of_three(sampler: PrioritisedSampler, progress: float = 0.0) -> list[float]:
    """Weights of a batch that has each of them once."""
    # Priorities 1, 2 and 4 are cut at 7/3 and 14/3: a tenth of each share meets each of them.
    batch = next_transitions(sampler, lambda size: np.full((1, size), 0.1), progress)
    assert batch.obs.tolist() == [[[0], [1], [2]]]
    weights: list[float] = batch.weight[0].tolist()
    return weights


@pytest.mark.parametrize(
    ("progress", "beta"), [(0.0, 0.0), (0.25, 0.25), (0.5, 0.5), (0.75, 0.75), (1.0, 1.0)]
)
def test_weights_by_hand_with_a_beta_that_grows(progress: float, beta: float) -> None:
    # Priorities 1, 2, 4: P is 1/7, 2/7, 4/7 and N is 3.
    by_hand = [(3 * share / 7) ** -beta for share in (1, 2, 4)]
    expected = [weight / max(by_hand) for weight in by_hand]
    sampler = sampler_with_errors(beta=0.0, beta_end=1.0)
    assert weights_of_three(sampler, progress) == pytest.approx(expected)


@pytest.mark.parametrize(("progress", "expected"), [(0.0, 0.25**0.4), (0.5, 0.25**0.7), (1, 0.25)])
def test_beta_goes_from_its_first_to_its_last_value(progress: float, expected: float) -> None:
    sampler = sampler_with_errors(beta=0.4, beta_end=1.0)
    assert weights_of_three(sampler, progress)[2] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("changes", "priorities"),
    [
        ({"priority": Priority.td_error}, [1, 2, 4]),
        ({"priority": Priority.loss}, [8, 4, 1]),
        ({"alpha": 0.5}, [1, 2**0.5, 2]),
        ({"alpha": 0.0}, [1, 1, 1]),
        ({"eps": 0.5}, [0.5, 1.5, 3.5]),
        ({"eps": 3.0, "alpha": 0.5}, [3**0.5, 2, 6**0.5]),
    ],
)
def test_priorities_by_hand(changes: dict[str, Any], priorities: list[float]) -> None:
    sampler = sampler_with_errors(**changes)
    total = sum(priorities)
    found = sampler.priorities.tree.leaves[0, :6]
    assert found.tolist() == pytest.approx([*priorities, 0, 0, 0])
    # The share of the line at which each of them ends.
    ends = np.cumsum(priorities) / total
    shares = np.array([each + side for each in ends[:2] for side in (-1e-6, 1e-6)])
    assert sampler.priorities.tree.find(shares[None]).tolist() == [[0, 1, 1, 2]]


def test_a_transition_without_error_is_drawn_because_of_eps() -> None:
    sampler = sampler_of(stream_of_three(), 3, eps=0.01, alpha=1.0)
    next_transitions(sampler, middles())
    update_priorities(sampler, np.zeros((1, 3)), np.zeros((1, 3)))
    assert next_transitions(sampler, middles()).obs.tolist() == [[[0], [1], [2]]]


def test_new_transitions_get_the_largest_priority_that_was_ever_seen() -> None:
    sampler = sampler_with_errors()
    assert sampler.priorities.tree.leaves[0, :3].tolist() == [1, 2, 4]
    append(sampler.stream, 4)
    next_transitions(sampler, middles())
    assert sampler.priorities.tree.leaves[0, :4].tolist() == [1, 2, 4, 4]
    for _ in range(5):  # even once there is none left that large
        next_transitions(sampler, middles())
        update_priorities(sampler, np.zeros((1, 3)), np.zeros((1, 3)))
    assert sampler.priorities.tree.leaves.max() < 4
    append(sampler.stream, 5)
    next_transitions(sampler, middles())
    assert sampler.priorities.tree.leaves[0, 4] == 4


def test_before_the_first_update_all_have_priority_one() -> None:
    sampler = sampler_of(stream_of_three(), 3, eps=1e-6, alpha=0.6)
    assert next_transitions(sampler, middles()).weight.tolist() == [[1, 1, 1]]
    assert sampler.priorities.tree.leaves[0, :3].tolist() == [1, 1, 1]
    # A smaller error than that does not make new ones smaller.
    update_priorities(sampler, np.zeros((1, 3)), np.full((1, 3), 0.1))
    append(sampler.stream, 4)
    sampler.catch_up()
    assert sampler.priorities.tree.leaves[0, 3] == 1


def test_each_member_has_a_largest_priority_of_its_own() -> None:
    stream = empty_stream(2, 1, 4)
    append(stream, 1)
    sampler = sampler_of(stream, 1)
    next_transitions(sampler, middles(2))
    update_priorities(sampler, np.zeros((2, 1)), np.array([[8.0], [2.0]]))
    append(stream, 2)
    sampler.catch_up()
    assert sampler.priorities.tree.leaves[:, :2].tolist() == [[9, 9], [3, 3]]


@pytest.mark.parametrize("count", [4, 5, 9, 10, 11, 123])
def test_many_appends_at_once_leave_only_what_is_still_there(count: int) -> None:
    stream = empty_stream(1, 2, 10)  # 5 in each ring
    sampler = sampler_of(stream, 10)
    for _ in range(2):
        for to in range(1, count + 1):
            append(stream, to)
        batch = next_transitions(sampler, middles())
        stored = min(int(stream.count[0]), 5)
        assert sampler.priorities.tree.total.tolist() == [2 * stored]
        assert set(batch.obs.ravel().tolist()) <= set(range(count + 1))
    assert sorted(next_transitions(sampler, middles()).obs[0, :5, 0].tolist()) == sorted(
        stream.obs[0, stream.queue[0] % stream.slots, 0].tolist()
    )


def test_what_left_the_buffer_is_never_drawn_however_large_its_error_was() -> None:
    stream = empty_stream(1, 1, 3)
    for to in range(1, 4):
        append(stream, to)
    sampler = sampler_of(stream, 3)
    next_transitions(sampler, middles())
    update_priorities(sampler, np.zeros((1, 3)), np.array([[1e12, 0.0, 0.0]]))
    sampler.priorities.largest[:] = 1  # or new transitions would be as likely as it
    append(stream, 4)
    random = np.random.default_rng(0)
    drawn = [next_transitions(sampler, numbers(random, 1)).obs.ravel().tolist() for _ in range(200)]
    assert {obs for row in drawn for obs in row} == {1, 2, 3}


def test_ends_of_episodes_leave_space_for_fewer_and_what_left_is_never_drawn() -> None:
    stream = empty_stream(1, 1, 4)  # six slots, of which two hold ends
    sampler = sampler_of(stream, 4)
    for to in range(1, 40):
        append(stream, to, terminated=to % 2 == 0)
        sampler.catch_up()
        assert sampler.priorities.tree.total.tolist() == stream.sizes.sum(1).tolist()
        assert (sampler.priorities.tree.leaves > 0).sum() == stream.count[0]


def test_the_last_error_of_a_transition_that_is_twice_in_a_batch_counts() -> None:
    stream = empty_stream(1, 1, 4)
    append(stream, 1)
    sampler = sampler_of(stream, 3)
    assert next_transitions(sampler, middles()).obs.tolist() == [[[0], [0], [0]]]
    update_priorities(sampler, np.zeros((1, 3)), np.array([[5.0, 9.0, 2.0]]))
    assert sampler.priorities.tree.total.tolist() == [3]  # 2 + eps
    append(stream, 2)
    sampler.catch_up()
    assert sampler.priorities.tree.leaves[0, 1] == 10  # the largest is that of them all


@pytest.mark.parametrize("count", [1, 6, 40])
def test_errors_on_another_device_are_written_before_the_next_batch_is_drawn(count: int) -> None:
    # As if they had been written at once, though steps were stored since, some in the same slots.
    envs, changes = recorded_envs(0, 2, 2, end_chance=0.2), {"alpha": 0.6}
    at_once, late = (sampler_of(stream_of(envs, 20, 2), 8, **changes) for _ in range(2))
    random = np.random.default_rng(0)
    for nth in range(20):
        step_all(envs, at_once.stream, random, 6 if nth == 0 else count, late.stream)
        batches = [
            next_transitions(each, numbers(np.random.default_rng(nth), 2))
            for each in (at_once, late)
        ]
        assert same(*batches)
        errors = SampleErrors(
            *(torch.from_numpy(random.exponential(size=(2, 8))) for _ in range(2))
        )
        before = [leaf.copy() for leaf in leaves_of(late.priorities)]
        in_arrays = SampleErrors(*(error.numpy() for error in errors))
        at_once.update_priorities(at_once.storage, latest_samples(at_once), in_arrays)
        late.update_priorities(late.storage, latest_samples(late), errors)
        assert all(map(np.array_equal, before, leaves_of(late.priorities)))
        if nth % 3 == 0:  # a checkpoint has it all the same
            assert same_contents(*(kept_of(each.stream, each) for each in (at_once, late)))


def test_a_loss_below_0_is_rounding_and_counts_as_0() -> None:
    sampler = sampler_of(stream_of_three(), 3, alpha=0.5, eps=1e-6, priority=Priority.loss)
    next_transitions(sampler, middles())
    update_priorities(sampler, np.array([[-4e-6, 0.0, 1e-3]]), np.zeros((1, 3)))
    leaves = sampler.priorities.tree.leaves[0, :3]
    assert leaves == pytest.approx([1e-3, 1e-3, (1e-3 + 1e-6) ** 0.5])


@pytest.mark.parametrize("error", [np.nan, np.inf])
def test_an_error_that_is_no_number_counts_as_the_largest_seen(error: float) -> None:
    # The session ends a run that diverges; the tree must stay valid until then.
    sampler = sampler_of(stream_of_three(), 3)
    next_transitions(sampler, middles())
    update_priorities(sampler, np.zeros((1, 3)), np.array([[0.0, 3.0, 1.0]]))
    next_transitions(sampler, lambda size: np.full((1, size), 0.1))
    update_priorities(sampler, np.zeros((1, 3)), np.array([[0.0, error, 1.0]]))
    assert np.isfinite(sampler.priorities.tree.leaves).all()
    append(sampler.stream, 4)
    sampler.catch_up()
    assert (
        sampler.priorities.tree.leaves.max() == sampler.priorities.tree.leaves[0, 3] == 4
    )  # 3 + eps


@pytest.mark.parametrize(("frames", "device"), [(0, "cpu"), (4, "cpu"), (4, IN_TENSORS)])
@pytest.mark.parametrize(("members", "envs", "behind"), [(1, 1, 0), (1, 3, 2), (2, 2, 70)])
def test_a_sampler_goes_on_from_its_contents_with_the_same_draws(
    members: int, envs: int, behind: int, frames: int, device: str
) -> None:
    changes = {"beta": 0.7, "beta_end": 0.7, "alpha": 0.6}
    sampler, reference = both(1, members, envs, 0.3, 24, frames, device, **changes)
    live(sampler, reference, np.random.default_rng(3), 8)
    # The checkpoint may come when the tree has not caught up with the stream.
    step_all(reference.envs, sampler.stream, np.random.default_rng(4), behind)
    kept = kept_of(sampler.stream, sampler)
    others = recorded_envs(99, members, envs, True, frames=frames)
    fresh = stream_of(others, 24, sampler.stream.window, True, device)
    other = sampler_of(fresh, 8, **changes)
    go_on_from(kept, fresh, other)
    one, two = np.random.default_rng(5), np.random.default_rng(5)
    for count in range(10):
        first, second = (
            next_transitions(sampler, numbers(one, members)),
            next_transitions(other, numbers(two, members)),
        )
        assert same(first, second)
        error = np.random.default_rng(count).exponential(size=(members, 8))
        update_priorities(sampler, error, error)
        update_priorities(other, error, error)


def test_members_and_environments_draw_from_their_own_rings() -> None:
    envs = recorded_envs(0, 2, 3)
    stream = stream_of(envs, 12)
    step_all(envs, stream, np.random.default_rng(0), 6)
    sampler = sampler_of(stream, 12)
    rings = next_transitions(sampler, middles(2)).obs[..., 0].tolist()
    assert rings == [[0.0] * 4 + [1.0] * 4 + [2.0] * 4, [3.0] * 4 + [4.0] * 4 + [5.0] * 4]


@pytest.mark.parametrize("end_chance", [0.0, 0.2])
def test_sequences_are_drawn_where_their_window_is_complete(end_chance: float) -> None:
    envs = recorded_envs(2, 2, 2, end_chance=end_chance)
    stream = stream_of(envs, 20, window=2 + 1 + 3 - 1)
    sampler = sampler_of(stream, 6, sequences_spec(1, 3, n_step=2), beta=1.0, beta_end=1.0)
    random = np.random.default_rng(0)
    for _ in range(30):
        step_all(envs, stream, random, 6)
        batch = next_batch(sampler, numbers(random, 2))
        assert isinstance(batch, Sequences)
        assert batch.obs.shape == (2, 6, 1 + 3 + 2, 2)
        places = [{(env.ring, p) for env in row for p in env.reachable(stream)} for row in envs]
        for member, row in enumerate(batch.obs[:, :, 0].tolist()):
            assert {(int(ring), int(count) - 1) for ring, count in row} <= places[member]
        weight = latest_samples(sampler).weight  # of each sequence
        counts = (batch.weight > 0).numpy()
        scale = counts[0].size / counts.sum((1, 2))
        expected = weight[..., None] * counts * scale[:, None, None]
        np.testing.assert_allclose(batch.weight.numpy(), expected, rtol=1e-9)
        update_priorities(sampler, *random.exponential(size=(2, 2, 6)))


def test_memory_is_that_of_the_tree() -> None:
    sampler = sampler_of(empty_stream(2, 3, 300), 8)
    assert sampler.nbytes == sampler.priorities.tree.nbytes == 2 * 300 * 8


def column(*values: float) -> Array:
    """A number for each member."""
    return np.array(values)[:, None]


def test_numbers_may_differ_between_members() -> None:
    stream = empty_stream(2, 1, 6)
    for to in range(1, 4):
        append(stream, to)
    numbers = {"alpha": (1.0, 0.5), "beta": (0.0, 0.4), "beta_end": (1.0, 0.8), "eps": (1.0, 4.0)}
    together = sampler_of(stream, 3, **{name: column(*pair) for name, pair in numbers.items()})
    errors, tenths = np.array([[0.0, 1.0, 3.0], [0.0, 5.0, 12.0]]), np.full((2, 3), 0.1)
    draw = together.draw(lambda size: tenths, [0.25, 0.75])
    before = together.sample(together.storage, draw)
    errors_of = SampleErrors(torch.from_numpy(0 * errors), torch.from_numpy(errors))
    together.update_priorities(together.storage, before, errors_of)
    together.catch_up()
    after = together.sample(together.storage, draw)
    # (0 + 1)^1, (1 + 1)^1, (3 + 1)^1; (0 + 4)^0.5, (5 + 4)^0.5, (12 + 4)^0.5
    assert together.priorities.tree.leaves[:, :3].tolist() == [[1, 2, 4], [2, 3, 4]]
    assert before.weight.tolist() == [[1, 1, 1], [1, 1, 1]]
    # beta is 0 + 1 / 4 for one and 0.4 + 0.4 * 3 / 4 for the other
    expected = [np.array([1, 1 / 2, 1 / 4]) ** 0.25, np.array([1, 2 / 3, 1 / 2]) ** 0.7]
    np.testing.assert_allclose(after.weight, expected, rtol=1e-12)
