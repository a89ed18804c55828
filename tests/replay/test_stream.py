from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from recorded_envs import (
    ACTIONS,
    IN_TENSORS,
    Envs,
    Kept,
    RecordedEnv,
    append,
    arrays_of,
    as_tensors,
    empty_stream,
    go_on_from,
    kept_of,
    located,
    newest_of,
    recorded_envs,
    same_contents,
    sequences_of,
    starting_at,
    step_all,
    stream_of,
    transitions_of,
)

from dqn_cli.arrays import tensor
from dqn_cli.replay.stream import EnvStep, Indices, Stream, StreamStorage


def check_ring(env: RecordedEnv, stream: Stream) -> None:
    """Every slot that is still in the ring holds what the environment emitted then."""
    newest = len(env.slots) - 1
    assert stream.head[env.ring] == newest
    for place in range(max(newest - stream.slots + 1, 0), newest + 1):
        at, slot = (env.ring, place % stream.slots), env.slots[place]
        frame = slot.obs[-1] if env.frames else slot.obs
        assert stream.obs[at].tolist() == frame.tolist()
        assert stream.begins[at] == (slot.taken is not None)
        if stream.masked:
            assert stream.mask[at].tolist() == slot.mask.tolist()
        if slot.taken is not None:
            assert (stream.action[at], stream.reward[at]) == slot.taken[:2]
            assert stream.terminated[at] == slot.taken.ends_life
            assert stream.truncated[at] == slot.taken.truncated
        if slot.taken is not None or place == newest:  # no state is needed at an episode's end
            assert stream.state[at].tolist() == slot.state.tolist()


def check_everything(envs: Envs, stream: Stream) -> None:
    """What is in the rings, and which transitions can be sampled from them in which order."""
    stream.check_valid()
    for env in [env for row in envs for env in row]:
        check_ring(env, stream)
        places = env.reachable(stream)
        assert stream.sizes.ravel()[env.ring] == len(places)
        nth = np.arange(len(places))
        found = located(stream, np.full_like(nth, env.ring), nth)
        assert found.slot.tolist() == places
        assert found.ring.tolist() == [env.ring] * len(places)
    check_newest(envs, stream)


def check_newest(envs: Envs, stream: Stream) -> None:
    """The latest observations are those that the environments emitted, with all their frames."""
    seen = newest_of(stream, 99)
    each = seen.shape[1] // stream.envs
    fewest = min(len(env.slots) for row in envs for env in row)
    assert each == min(fewest, stream.capacity + stream.window + 1)
    expected = [[env.slots[-1 - k].obs for env in row for k in range(each)] for row in envs]
    np.testing.assert_array_equal(seen, expected)


class Shape(NamedTuple):
    """Streams of the same shape can take each other's contents."""

    capacity: int
    window: int
    masked: bool
    members: int
    envs: int
    frames: int

    def stream(self, device: str = "cpu") -> Stream:
        """One that began with other observations."""
        capacity, window, masked, members, envs, frames = self
        fresh = recorded_envs(99, members, envs, masked, frames=frames)
        return stream_of(fresh, capacity, window, masked, device)


def as_checkpoints_keep_it(kept: Kept) -> Kept:
    """Contents after a checkpoint made tensors and then arrays of them."""
    return [
        ({name: tensor(values).cpu().numpy() for name, values in stream.items()}, sampler)
        for stream, sampler in kept
    ]


@pytest.mark.parametrize("seed", range(60))
def test_whatever_the_environments_emitted_is_found_in_its_place(seed: int) -> None:
    random = np.random.default_rng(seed)
    members, window, masked = 1 + seed // 2 % 2, int(random.integers(1, 6)), bool(seed % 2)
    window += int(random.choice([0, 0, 1, 6]))
    chances = random.choice([0.0, 0.05, 0.3, 0.6]), random.choice([0.0, 0.2])
    capacity, rows = int(random.choice([1, 2, 3, 5, 8, 13])), int(random.integers(1, 4))
    shape = Shape(capacity, window, masked, members, rows, [0, 1, 2, 4][seed % 4])
    device, other = [("cpu", IN_TENSORS), (IN_TENSORS, "cpu")][seed // 4 % 2]
    envs = recorded_envs(seed, members, rows, masked, *chances, shape.frames)
    stream = stream_of(envs, capacity, window, masked, device)
    for step in range(45):
        step_all(envs, stream, random)
        check_everything(envs, stream)
        if step in (3, 30, 40):  # before and after the rings are full
            kept = kept_of(stream)
            # At last it goes on where observations are kept on the other device.
            stream = shape.stream(other if step == 40 else device)
            go_on_from(as_checkpoints_keep_it(kept), stream)
            assert stream.appends == step + 1
            assert same_contents(kept_of(stream), kept)
            check_everything(envs, stream)


@pytest.mark.parametrize("seed", range(24))
def test_an_episode_that_cannot_go_on_is_cut_and_a_new_one_begins(seed: int) -> None:
    random = np.random.default_rng(seed)
    window, masked = int(random.choice([1, 2, 5])), bool(seed % 2)
    capacity, frames = int(random.choice([2, 3, 8, 13])), [0, 1, 4][seed % 3]
    envs = recorded_envs(seed, 2, 3, masked, 0.3, 0.2, frames)
    stream = stream_of(envs, capacity, window, masked)
    for step in range(30):
        if step in (0, 1, 2, 9, 20, 21):
            for member, env in [(0, 0), (1, int(random.integers(3)))]:
                slot = envs[member][env].restart()
                stream.begin_episode(member, env, slot.obs, slot.mask)
            check_everything(envs, stream)
        step_all(envs, stream, random)
        check_everything(envs, stream)


def test_returns_and_sequences_end_where_an_episode_is_cut() -> None:
    stream = empty_stream(1, 1, 9, window=4, state_size=1)
    for count in (1, 2, 3):
        append(stream, count, reward=count)
    stream.begin_episode(0, 0, np.array([-9.0]), np.ones(ACTIONS, bool))
    for count in (4, 5, 6):
        append(stream, count, reward=count)
    # Slots 0 1 2 3 | 4 5 6 7, where 3 has the observation that the cut episode ended with.
    one = np.ones((1, 1))
    batch = transitions_of(stream, starting_at(1), one, np.array([0.5]), n_step=3)
    assert batch.reward.item() == 2 + 0.5 * 3
    assert batch.discount.item() == 0.25
    assert batch.next_obs.item() == 3
    of_slots = sequences_of(stream, starting_at(1), one, np.array([0.5]), 0, 4, n_step=1)
    assert of_slots.obs.ravel().tolist() == [1, 2, 3, -9, 4]
    assert of_slots.starts.ravel().tolist() == [False, False, False, True, False]
    assert of_slots.discount.ravel().tolist()[:2] == [0.5, 0.5]
    assert (of_slots.weight == 0).ravel().tolist() == [False, False, True, False]
    assert of_slots.ahead.ravel().tolist()[1] == 1


def test_a_cut_before_the_first_transition_replaces_the_first_observation() -> None:
    stream = empty_stream(1, 1, 5)
    stream.begin_episode(0, 0, np.array([7.0]), np.ones(ACTIONS, bool))
    append(stream, 1, terminated=True)
    stream.begin_episode(0, 0, np.array([8.0]), np.ones(ACTIONS, bool))
    assert stream.head.tolist() == [2]
    assert stream.obs[0, :3].ravel().tolist() == [7, 1, 8]
    assert not stream.truncated.any()


@pytest.mark.parametrize("device", ["cpu", IN_TENSORS])
@pytest.mark.parametrize("steps", [1, 3, 30])
def test_a_checkpoint_of_frames_holds_each_once_and_what_goes_on_from_it_is_the_same(
    device: str, steps: int
) -> None:
    envs = recorded_envs(0, 2, 2, True, 0.1, 0.2, frames=4)
    stream, random = stream_of(envs, 12, 2, True, device), np.random.default_rng(0)
    step_all(envs, stream, random, steps)
    kept = kept_of(stream)
    used = min(max(len(env.slots) for env in envs[1]), 6 + 2 + 1 + 3)
    assert kept[1][0]["obs"].shape == (2, used, 2)
    other = Shape(12, 2, True, 2, 2, frames=4).stream(device)
    go_on_from(as_checkpoints_keep_it(kept), other)
    assert same_contents(kept_of(other), kept)
    for _ in range(25):
        step_all(envs, stream, random, 1, other)
        assert same_contents(kept_of(other), kept_of(stream))
        assert newest_of(other, 99).tolist() == newest_of(stream, 99).tolist()
    check_everything(envs, other)


@pytest.mark.parametrize(("capacity", "envs", "each"), [(6, 3, 2), (7, 3, 3), (1, 3, 1), (5, 1, 5)])
def test_a_members_environments_share_its_capacity_rounded_up(
    capacity: int, envs: int, each: int
) -> None:
    recorded = recorded_envs(0, 2, envs)
    stream = stream_of(recorded, capacity)
    step_all(recorded, stream, np.random.default_rng(0), 10)
    assert stream.sizes.tolist() == [[each] * envs] * 2
    check_everything(recorded, stream)


@pytest.mark.parametrize("seed", range(10))
def test_a_buffer_of_one_always_holds_the_latest_transition_alone(seed: int) -> None:
    envs = recorded_envs(seed, 1, 1, True, 0.3)
    stream, random = stream_of(envs, 1, 1, True), np.random.default_rng(seed)
    for _ in range(40):
        step_all(envs, stream, random)
        assert stream.sizes.item() == 1
        begun = [place for place, slot in enumerate(envs[0][0].slots) if slot.taken]
        zero = np.zeros((1, 1), np.int64)
        assert located(stream, zero, zero) == Indices(zero, np.array([[begun[-1]]]))


@pytest.mark.parametrize(("window", "sizes"), [(1, [1, 2, 3, 4, 4]), (3, [0, 0, 1, 2, 3])])
def test_a_transition_can_be_sampled_once_its_window_is_there(
    window: int, sizes: list[int]
) -> None:
    envs = recorded_envs(0, 1, 1)
    stream = stream_of(envs, 4, window)
    for size in sizes:
        step_all(envs, stream, np.random.default_rng(0))
        assert stream.sizes.item() == size


def test_windows_go_on_through_the_ends_of_episodes() -> None:
    stream = empty_stream(1, 1, 6, window=3)
    for count in range(5):
        append(stream, count, terminated=count == 1)
    # Slots 0 1 | 2 3 4 5 6, where 2 is the end's own; three follow 0, 1 and 3.
    nth = np.arange(3)
    assert located(stream, nth * 0, nth).slot.tolist() == [0, 1, 3]
    assert stream.sizes.item() == 3


def test_the_first_state_is_empty_and_each_later_one_is_stored_with_its_observation() -> None:
    envs = recorded_envs(0, 1, 2)
    stream = stream_of(envs, 5)
    assert stream.state.dtype == np.float32
    step_all(envs, stream, np.random.default_rng(0), 3)
    assert not stream.state[:, 0].any()
    expected = [[slot.state.tolist() for slot in env.slots] for env in envs[0]]
    assert stream.state[:, :4].tolist() == expected


def test_after_an_end_the_state_belongs_to_the_new_episode() -> None:
    obs, mask = np.zeros((1, 1, 1)), np.ones((1, 1, 2), bool)
    stream = Stream(5, obs, mask, False, 1, 1)
    zero, true = np.zeros((1, 1)), np.ones((1, 1), bool)
    step = EnvStep(zero, true, ~true, ~true, obs + 1, mask, obs + 2, mask)
    stream.append(zero.astype(int), step, np.full((1, 1, 1), 7.0))
    assert stream.obs[0, :3].tolist() == [[0], [1], [2]]
    assert stream.state[0, [0, 2]].tolist() == [[0], [7]]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, [[-4, -4], [-4, -4]]),
        (3, [[-4, 4, 3, -4, 4, 3]] * 2),
        (6, [[-4, 4, 3, 2, 1, 0, -4, 4, 3, 2, 1, 0]] * 2),
        (99, [[-4, 4, 3, 2, 1, 0, -4, 4, 3, 2, 1, 0]] * 2),
    ],
)
def test_the_newest_observations_come_from_every_environment(
    count: int, expected: list[list[float]]
) -> None:
    stream = empty_stream(2, 2, 20)
    for to in range(1, 5):
        append(stream, to, truncated=to == 4)
    assert newest_of(stream, count)[..., 0].tolist() == expected


def test_the_newest_observations_are_never_overwritten_ones() -> None:
    stream = empty_stream(1, 1, 2)  # four slots: two transitions, what follows, an episode's end
    for to in range(1, 8):
        append(stream, to)
    assert newest_of(stream, 99).tolist() == [[[7], [6], [5], [4]]]


def test_the_newest_observations_are_as_many_as_the_shortest_ring_has() -> None:
    envs = recorded_envs(1, 1, 2, end_chance=0.5)
    stream = stream_of(envs, 99)
    step_all(envs, stream, np.random.default_rng(0), 10)
    fewest = min(len(env.slots) for env in envs[0])
    assert len(envs[0][0].slots) != len(envs[0][1].slots)
    expected = [env.slots[-1 - back].obs.tolist() for env in envs[0] for back in range(fewest)]
    assert newest_of(stream, 99).tolist() == [expected]


@pytest.mark.parametrize(("stored", "numbers"), [("u1", "f4"), ("f4", "f4"), ("f8", "f8")])
def test_observations_keep_their_dtype_and_rewards_follow_it(stored: str, numbers: str) -> None:
    obs, mask = np.full((1, 1, 2, 2), 255, stored), np.ones((1, 1, 10_000), bool)
    stream = Stream(3, obs, mask, False, 0, 1)
    number, false = np.ones((1, 1)), np.zeros((1, 1), bool)
    stream.append(
        np.array([[9999]]), EnvStep(number / 3, false, false, false, obs, mask, obs, mask)
    )
    assert stream.obs.dtype == stored
    assert stream.obs[0, :2].tolist() == [obs[0, 0].tolist()] * 2
    assert stream.reward.dtype == numbers
    assert stream.reward[0, 0] == np.dtype(numbers).type(1 / 3)
    assert stream.action[0, 0] == 9999


def test_contents_leave_out_what_was_never_written_and_what_says_nothing() -> None:
    envs = recorded_envs(0, 1, 2)
    stream = stream_of(envs, 1000)
    step_all(envs, stream, np.random.default_rng(0), 4)
    assert stream.contents(0)["obs"].shape == (2, 5, 2)  # two rings; four steps, five observations
    assert stream.mask.nbytes == 0
    assert empty_stream(1, 1, 5).state.nbytes == 0


def test_memory_counts_everything() -> None:
    stream = empty_stream(1, 2, 8)  # rings of 4 transitions in 6 slots
    # Each slot: float64 observation and reward, a byte for the action, three bools; each ring: a
    # queue of four, first, count and head, all int64.
    assert stream.nbytes == 2 * 6 * (8 + 8 + 1 + 3) + 2 * (4 + 3) * 8


def test_memory_of_stacks_is_that_of_single_frames() -> None:
    # A slot more for each frame that a stack reaches back, and none for its axis of time.
    single, stacked = empty_stream(1, 2, 8), empty_stream(1, 2, 8, frames=4)
    assert stacked.nbytes == single.nbytes + 3 * 2 * (8 + 8 + 1 + 3)
    assert empty_stream(1, 2, 8, frames=1).nbytes == single.nbytes
    assert empty_stream(1, 2, 8, frames=4, device=IN_TENSORS).nbytes == stacked.nbytes


@pytest.mark.parametrize("device", ["cpu", IN_TENSORS])
@pytest.mark.parametrize(("members", "envs"), [(1, 1), (1, 8), (2, 4)])
def test_a_transition_of_atari_takes_a_frame_and_a_few_bytes(
    members: int, envs: int, device: str
) -> None:
    stack = np.zeros((members, envs, 4, 84, 84), np.uint8)
    mask = np.ones((members, envs, 18), bool)
    capacity = 100_000 if device == "cpu" else 1000
    stream = Stream(capacity, stack, mask, False, 0, 3, 4, device)
    # 84 * 84 are 7056. Each ring has a window of three, three older frames and an end besides.
    assert stream.nbytes <= 7100 * (members * capacity + 7 * members * envs)


def check_stored(stream: Stream, tensors: StreamStorage) -> None:
    """The storage has the stream's own arrays, and earlier `tensors` still share their memory."""
    assert all(each is own for each, own in zip(stream.storage, arrays_of(stream), strict=True))
    for earlier, own in zip(tensors, map(tensor, arrays_of(stream)), strict=True):
        assert earlier.data_ptr() == own.data_ptr()
        assert earlier.dtype == own.dtype
        assert earlier.numpy().strides == own.numpy().strides
        np.testing.assert_array_equal(earlier.numpy(), own.numpy())


@pytest.mark.parametrize("device", ["cpu", IN_TENSORS])
def test_what_is_stored_are_the_streams_own_arrays_for_good(device: str) -> None:
    envs = recorded_envs(0, 2, 2, True, 0.2)
    stream, random = stream_of(envs, 6, 2, True, device), np.random.default_rng(0)
    before, tensors = [*stream.storage], as_tensors(stream.storage)
    check_stored(stream, tensors)
    for _ in range(30):
        step_all(envs, stream, random)
        check_stored(stream, tensors)
    kept = kept_of(stream)
    other = stream_of(recorded_envs(99, 2, 2, True), 6, 2, True, device)
    its, its_tensors = [*other.storage], as_tensors(other.storage)
    go_on_from(kept, other)
    check_stored(other, its_tensors)
    step_all(envs, other, random)
    check_stored(other, its_tensors)
    assert all(now is then for now, then in zip(stream.storage, before, strict=True))
    assert all(now is then for now, then in zip(other.storage, its, strict=True))


def test_an_append_can_be_seen_in_what_is_stored() -> None:
    stream = empty_stream(1, 1, 4)
    kinds = stream.storage, as_tensors(stream.storage)
    append(stream, 7, terminated=True, reward=3)
    for stored in kinds:
        assert stored.obs[0, :3].tolist() == [[0], [7], [-7]]
        assert (stored.reward[0, 0].item(), stored.terminated[0, 0].item()) == (3, True)
        assert (stored.queue[0, 0].item(), stored.first.item(), stored.size.item()) == (0, 0, 1)


def test_locating_changes_nothing() -> None:
    envs = recorded_envs(0, 1, 2, end_chance=0.3)
    stream = stream_of(envs, 6)
    step_all(envs, stream, np.random.default_rng(0), 20)
    before = kept_of(stream)
    ring, nth = np.array([[0, 1]]), np.array([[1, 0]])
    one, two = located(stream, ring, nth), located(stream, ring, nth)
    assert one.slot.tolist() == two.slot.tolist()
    assert (ring.tolist(), nth.tolist()) == ([[0, 1]], [[1, 0]])
    assert same_contents(kept_of(stream), before)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"queue": [[3, 2, 4]]}, "order"),
        ({"head": [7]}, "overwritten"),  # the oldest of slots 2 to 4, in a ring of five
        ({"head": [4]}, "complete"),
        ({"begins": [[False] * 5]}, "only transitions"),
    ],
)
def test_check_valid_finds_what_must_not_be_sampled(change: dict[str, Any], complaint: str) -> None:
    envs = recorded_envs(0, 1, 1)
    stream = stream_of(envs, 3)
    step_all(envs, stream, np.random.default_rng(0), 5)
    stream.check_valid()
    stream.load(stream.contents(0) | {name: np.array(value) for name, value in change.items()}, 0)
    with pytest.raises(AssertionError, match=complaint):
        stream.check_valid()


def test_actions_are_stored_for_each_ring() -> None:
    mask = np.ones((2, 2, ACTIONS), bool)
    stream = Stream(4, np.zeros((2, 2, 1)), mask, False, 0, 1)
    zero, false = np.zeros((2, 2)), np.zeros((2, 2), bool)
    obs = np.zeros((2, 2, 1))
    stream.append(
        np.array([[0, 1], [2, 1]]), EnvStep(zero, false, false, false, obs, mask, obs, mask)
    )
    assert stream.action[:, 0].tolist() == [0, 1, 2, 1]


def two_members() -> Stream:
    """Rings that have wrapped, with ends and states in them."""
    envs = recorded_envs(3, 2, 2, True, 0.2)
    stream = stream_of(envs, 12, 2, True)
    step_all(envs, stream, np.random.default_rng(0), 25)
    return stream


@pytest.mark.parametrize("member", [0, 1])
def test_a_member_goes_on_alone_as_it_was_among_others(member: int) -> None:
    stream = two_members()
    alone = stream_of(recorded_envs(99, 1, 2, True), 12, 2, True)
    go_on_from(kept_of(stream)[member : member + 1], alone)
    alone.check_valid()
    assert alone.appends == stream.appends == 25
    assert same_contents(kept_of(alone), kept_of(stream)[member : member + 1])
    assert alone.sizes.tolist() == [stream.sizes[member].tolist()]
    assert newest_of(alone, 99).tolist() == [newest_of(stream, 99)[member].tolist()]


@pytest.mark.parametrize("member", [0, 1])
def test_loading_a_member_leaves_the_others_as_they_were(member: int) -> None:
    stream = two_members()
    envs = recorded_envs(5, 1, 2, True, 0.2)
    other = stream_of(envs, 12, 2, True)
    step_all(envs, other, np.random.default_rng(1), 25)
    expected = kept_of(stream)
    expected[member] = kept_of(other)[0]
    stream.load(other.contents(0), member)
    assert same_contents(kept_of(stream), expected)
