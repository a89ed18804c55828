from __future__ import annotations

from functools import partial
from itertools import product
from math import isclose
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_envs import (
    IN_TENSORS,
    Envs,
    Fate,
    RecordedEnv,
    after_stretches,
    append,
    as_tensors,
    empty_stream,
    every_transition,
    in_both_kinds,
    located,
    newest_of,
    recorded_envs,
    same,
    sequences_of,
    sequences_spec,
    starting_at,
    step_all,
    stream_of,
    transitions_of,
    transitions_spec,
)
from torch import Tensor

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.arrays import Array
from dqn_cli.replay.batches import BatchSpec, build_batch, sequences, transitions, what_follows
from dqn_cli.replay.stream import EnvStep, Indices, Stream, StreamStorage

ONE = np.ones((1, 1))


@pytest.mark.parametrize(
    ("spec", "window", "evaluations"),
    [
        # The next observation is n slots on, and the network evaluates the first one only.
        (transitions_spec(1), 1, 1),
        (transitions_spec(5, frames=4), 5, 1),
        # The last step is burn_in + length - 1 slots on, and its next observation n more. The
        # network evaluates all observations after the burn-in.
        (sequences_spec(0, 1, n_step=1), 1, 2),
        (sequences_spec(0, 4, n_step=1), 4, 5),
        (sequences_spec(2, 3, n_step=1), 5, 4),
        (sequences_spec(2, 3, n_step=5, frames=4), 9, 8),
    ],
)
def test_window_and_evaluations_by_hand(spec: BatchSpec, window: int, evaluations: int) -> None:
    assert spec.window == window
    assert spec.evaluations == evaluations


SPECS = [
    transitions_spec(1),
    transitions_spec(3, frames=2),
    sequences_spec(0, 1, 1),
    sequences_spec(2, 3, 1, frames=2),
    sequences_spec(1, 2, n_step=4),
]


@pytest.mark.parametrize("spec", SPECS)
def test_a_window_reaches_just_to_the_newest_observation_of_a_batch(spec: BatchSpec) -> None:
    stream = empty_stream(1, 1, 4, spec.window, 1, spec.frames)
    for to in range(1, spec.window + 1):
        assert stream.sizes.item() == 0
        append(stream, to)
    assert stream.sizes.item() == 1
    batch = build_batch(stream.storage, starting_at(0), ONE, np.array([0.5]), spec)
    newest = batch.next_obs if isinstance(batch, Batch) else batch.obs[:, :, -1]
    assert newest.flatten()[-1] == spec.window  # the last frame of a stack is its newest


@pytest.mark.parametrize("spec", SPECS)
def test_evaluations_are_the_observations_that_are_not_burn_in(spec: BatchSpec) -> None:
    stream = empty_stream(1, 1, 4, spec.window, 1, spec.frames)
    for to in range(spec.window):
        append(stream, to)
    batch = build_batch(stream.storage, starting_at(0), ONE, np.array([0.5]), spec)
    observations = 1 if isinstance(batch, Batch) else batch.obs.shape[2]
    assert spec.evaluations == observations - spec.burn_in


@pytest.mark.parametrize("spec", SPECS)
def test_a_spec_with_a_length_builds_sequences_and_one_without_builds_transitions(
    spec: BatchSpec,
) -> None:
    envs = recorded_envs(1, 2, 2, True, 0.2, 0.1, spec.frames)
    stream = stream_of(envs, 20, spec.window, True)
    step_all(envs, stream, np.random.default_rng(0), 30)
    ring, nth = np.array([[0, 1, 1], [3, 2, 3]]), np.array([[0, 1, 2], [2, 1, 0]])
    weight, gamma = np.random.default_rng(1).random(ring.shape), np.array([0.9, 0.5])
    inputs = stream.storage, located(stream, ring, nth), weight, gamma
    batch = in_both_kinds(partial(build_batch, spec=spec), *inputs)
    if spec.length:
        assert isinstance(batch, Sequences)
        assert same(batch, sequences(*inputs, spec))
    else:
        assert isinstance(batch, Batch)
        assert same(batch, transitions(*inputs, spec))


class Sum(NamedTuple):
    """How rewards are summed."""

    n_step: int
    clip: bool


def n_steps(env: RecordedEnv, place: int, how: Sum, gamma: float) -> tuple[float, float, int]:
    """Reward, discount and number of steps from a slot on."""
    steps = env.steps(place, how.n_step)
    rewards = [taken.reward for taken in steps]
    if how.clip:
        rewards = [min(max(reward, -1.0), 1.0) for reward in rewards]
    reward = sum(gamma**k * each for k, each in enumerate(rewards))
    return reward, 0.0 if steps[-1].ends_life else gamma ** len(steps), len(steps)


def check_transition(
    batch: Batch, at: tuple[int, int], env: RecordedEnv, place: int, how: Sum, gamma: float
) -> None:
    reward, discount, steps = n_steps(env, place, how, gamma)
    first, last = env.slots[place], env.slots[place + steps]
    found = Batch(*(each[at].tolist() for each in batch))
    assert found.obs == first.obs.tolist()
    assert found.action == env.begins(place).action
    assert found.mask == first.mask.tolist()
    assert near(found.reward, reward)
    assert near(found.discount, discount)
    assert found.next_obs == last.obs.tolist()
    assert found.next_mask == last.mask.tolist()


def near(one: Any, other: float) -> bool:
    return isclose(one, other, abs_tol=1e-12)


def check_transitions(envs: Envs, stream: Stream, how: Sum, *others: Stream) -> None:
    """Every transition that can be sampled is the one that the record has in its place.

    The `others` hold the same as the stream.
    """
    gamma = np.array([0.9, 0.5])[: len(envs)]
    ring, nth = every_transition(stream)
    weight = np.random.default_rng(0).random(ring.shape)
    inputs = located(stream, ring, nth), weight, gamma, *how
    batch = transitions_of(stream, *inputs)
    assert all(same(batch, transitions_of(other, *inputs)) for other in others)
    assert batch.weight.tolist() == weight.tolist()
    for member, column in np.ndindex(ring.shape):
        env = envs[member][column // stream.capacity]
        places = env.reachable(stream)
        if nth[member, column] < len(places):
            place = places[nth[member, column]]
            check_transition(batch, (member, column), env, place, how, gamma[member])


@pytest.mark.parametrize("spec", [transitions_spec(5), sequences_spec(1, 3, 5)])
def test_each_members_returns_may_have_fewer_rewards_than_a_window_has(spec: BatchSpec) -> None:
    envs = recorded_envs(3, 2, 2, True, 0.2, 0.1)
    stream, fewer = stream_of(envs, 20, spec.window, True), np.array([2, 4])
    step_all(envs, stream, np.random.default_rng(0), 40)
    ring, nth = np.array([[0, 1, 1], [3, 2, 3]]), np.array([[0, 1, 2], [2, 1, 0]])
    indices, gamma = located(stream, ring, nth), np.array([0.9, 0.5])
    weight = np.ones(ring.shape)

    def build(storage: StreamStorage, *inputs: Any) -> Batch | Sequences:
        *others, n_step = inputs
        return build_batch(storage, *others, spec, n_step)

    batch = in_both_kinds(build, stream.storage, indices, weight, gamma, fewer)
    if spec.length:
        assert isinstance(batch, Sequences)
        for member, n_step in enumerate(fewer):
            expected = sequences(
                stream.storage, indices, weight, gamma, spec._replace(n_step=n_step)
            )
            for name in ("reward", "discount", "ahead"):
                assert getattr(batch, name)[member].equal(getattr(expected, name)[member])
        return
    assert isinstance(batch, Batch)
    for member, column in np.ndindex(ring.shape):
        env = envs[member][ring[member, column] - 2 * member]
        place = env.reachable(stream)[nth[member, column]]
        how = Sum(int(fewer[member]), False)
        check_transition(batch, (member, column), env, place, how, gamma[member])


@pytest.mark.parametrize("frames", [0, 3])
@pytest.mark.parametrize("steps", [1, 4])
def test_what_follows_is_what_was_recorded_until_the_episode_ends(steps: int, frames: int) -> None:
    spec = transitions_spec(2, frames)._replace(following=steps)
    assert spec.window == max(2, steps)
    envs = recorded_envs(5, 2, 2, True, 0.3, 0.1, frames)
    stream = stream_of(envs, 12, spec.window, True)
    step_all(envs, stream, np.random.default_rng(0), 50)
    ring, nth = every_transition(stream)
    indices = located(stream, ring, nth)
    following = what_follows(stream.storage, indices, spec)
    others = what_follows(*as_tensors((stream.storage, indices)), spec)
    assert all(map(torch.equal, following, others))
    seen = set()
    for member, column in np.ndindex(ring.shape):
        env = envs[member][column // stream.capacity]
        places = env.reachable(stream)
        if nth[member, column] >= len(places):
            continue
        place = places[nth[member, column]]
        for step in range(steps):
            before = [env.slots[place + k].taken for k in range(step + 1)]
            within = all(taken is not None for taken in before)
            at = member, column, step
            assert following.within[at].item() is within
            seen.add(within)
            if within:
                assert following.obs[at].tolist() == env.slots[place + step + 1].obs.tolist()
                assert following.action[at].item() == env.begins(place + step).action
    assert seen == ({True} if steps == 1 else {True, False})


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_sampled_is_what_the_environments_emitted(seed: int) -> None:
    random = np.random.default_rng(seed)
    members, n_step, masked = 1 + seed // 2 % 2, int(random.integers(1, 6)), bool(seed % 2)
    chances = random.choice([0.0, 0.05, 0.3, 0.6]), random.choice([0.0, 0.2])
    frames, how = [0, 1, 2, 4][seed // 4 % 4], Sum(n_step, bool(random.random() < 0.5))
    envs = recorded_envs(seed, members, int(random.integers(1, 4)), masked, *chances, frames)
    stream = stream_of(envs, int(random.choice([1, 2, 3, 5, 8, 13])), n_step, masked)
    for _ in range(45):
        step_all(envs, stream, random)
        check_transitions(envs, stream, how)


FATES = [Fate(*each) for each in product([False, True], repeat=3)]
# What becomes of an environment: after so many steps this happens, then the next, again and again.
LIVES = st.lists(st.tuples(st.integers(1, 8), st.sampled_from(FATES)), min_size=1, max_size=4)
# Those of all environments of one member or two.
POPULATIONS = st.tuples(st.integers(1, 2), st.integers(1, 3)).flatmap(
    lambda shape: st.lists(
        st.lists(LIVES, min_size=shape[1], max_size=shape[1]), min_size=shape[0], max_size=shape[0]
    )
)


@settings(derandomize=True, max_examples=60, deadline=None)
@given(
    lives=POPULATIONS,
    capacity=st.integers(1, 9),
    how=st.builds(Sum, st.sampled_from([1, 3, 5]), st.booleans()),
    burn_in=st.integers(0, 2),
    length=st.integers(1, 3),
    frames=st.sampled_from([0, 1, 2, 4]),
    masked=st.booleans(),
)
def test_arrays_and_tensors_hold_what_was_emitted_whatever_its_shape_and_fate(
    lives: list[list[list[tuple[int, Fate]]]],
    capacity: int,
    how: Sum,
    burn_in: int,
    length: int,
    frames: int,
    masked: bool,
) -> None:
    envs = recorded_envs(0, len(lives), len(lives[0]), masked, frames=frames)
    for row, fates in zip(envs, lives, strict=True):
        for env, stretches in zip(row, fates, strict=True):
            env.fates = after_stretches(stretches)
    window, random = burn_in + length + how.n_step - 1, np.random.default_rng(0)
    arrays, tensors = (
        stream_of(envs, capacity, window, masked, device) for device in ("cpu", IN_TENSORS)
    )
    for step in range(2 * arrays.slots + 3):
        step_all(envs, arrays, random, 1, tensors)
        arrays.check_valid()
        tensors.check_valid()
        if step % 2 == 0:
            check_transitions(envs, arrays, how, tensors)
            check_sequences(envs, arrays, burn_in, length, how, tensors)


def frames_in(batch: Tensor) -> list[Any]:
    """The stacks of a member's observations, whose frames are one number each."""
    found: list[Any] = batch[0, ..., 0].tolist()
    return found


@pytest.mark.parametrize("device", ["cpu", IN_TENSORS])
def test_stacks_by_hand_go_on_through_lost_lives_and_begin_anew_with_an_episode(
    device: str,
) -> None:
    stream = empty_stream(1, 1, 10, 2, frames=3, device=device)
    append(stream, 1)
    append(stream, 2, lost=True)
    append(stream, 3, truncated=True)
    append(stream, 4)
    append(stream, 5, terminated=True)
    append(stream, 6)
    # Frames 0 1 2 3 | -3 4 5 | -5 6, of which slots 0, 1, 2, 4 and 5 begin what two slots follow.
    nth = np.arange(5)[None]
    assert stream.sizes.item() == 5
    indices = located(stream, nth * 0, nth)
    batch = transitions_of(stream, indices, np.ones((1, 5)), np.array([0.5]), 2)
    assert frames_in(batch.obs) == [[0, 0, 0], [0, 0, 1], [0, 1, 2], [0, 0, -3], [0, -3, 4]]
    assert frames_in(batch.next_obs) == [[0, 1, 2], [0, 1, 2], [1, 2, 3], [-3, 4, 5], [-3, 4, 5]]
    assert batch.discount.tolist() == [[0, 0, 0.5, 0, 0]]
    assert newest_of(stream, 4)[..., 0].tolist() == [
        [[0, -5, 6], [0, 0, -5], [-3, 4, 5], [0, -3, 4]]
    ]


@pytest.mark.parametrize("device", ["cpu", IN_TENSORS])
def test_sequences_of_stacks_by_hand(device: str) -> None:
    stream = empty_stream(1, 1, 10, 5, 1, frames=2, device=device)
    for to in range(1, 5):
        append(stream, to, terminated=to == 2, lost=to == 3, reward=to)
    # Frames 0 1 2 | -2 3 4; all but the second and the last slots' stacks hold the one before.
    batch = sequences_of(stream, starting_at(0), ONE, np.array([0.5]), burn_in=1, length=4)
    assert frames_in(batch.obs) == [[[0, 0], [0, 1], [1, 2], [0, -2], [-2, 3], [3, 4]]]
    assert batch.starts.tolist() == [[[False, False, False, True, False, False]]]
    counts = batch.weight[0, 0] > 0
    assert counts.tolist() == [True, False, True, True]
    assert batch.reward[0, 0][counts].tolist() == [2, 3, 4]
    assert batch.discount[0, 0][counts].tolist() == [0, 0, 0.5]


@pytest.mark.parametrize("frames", [2, 3, 4])
def test_no_stack_reaches_round_the_ring(frames: int) -> None:
    # Without an end the oldest transition's stack takes the oldest slot that is left.
    stream = empty_stream(1, 1, 2, 3, frames=frames)
    for to in range(1, 40):
        append(stream, to)
        stream.check_valid()
        nth = np.arange(stream.sizes.item())[None]
        indices = located(stream, nth * 0, nth)
        batch = transitions_of(stream, indices, np.ones(nth.shape), np.array([0.5]), 3)
        for obs in (batch.obs, batch.next_obs):
            for stack in frames_in(obs):
                newest = int(stack[-1])
                assert stack == [max(frame, 0) for frame in range(newest - frames + 1, newest + 1)]


@pytest.mark.parametrize("device", ["cpu", IN_TENSORS])
@pytest.mark.parametrize("dtype", ["u1", "f4", "f8"])
def test_stacks_have_the_dtype_and_the_shape_that_was_emitted(dtype: str, device: str) -> None:
    obs, mask = np.zeros((2, 1, 3, 4, 5), dtype), np.ones((2, 1, 2), bool)
    obs[:, :, -1] = 255
    stream, false = Stream(3, obs, mask, False, 0, 1, 3, device=device), np.zeros((2, 1), bool)
    after = np.concatenate([obs[:, :, 1:], 7 * np.ones_like(obs[:, :, :1])], axis=2)
    number, zero = np.zeros((2, 1)), np.zeros((2, 1), np.int64)
    stream.append(zero, EnvStep(number, false, false, false, after, mask, after, mask))
    ring = np.arange(2)[:, None]
    batch = transitions_of(stream, located(stream, ring, zero), number, np.ones(2))
    for found, expected in ((batch.obs, obs), (batch.next_obs, after)):
        assert found.numpy().dtype == dtype
        assert found.tolist() == expected.tolist()


@pytest.mark.parametrize(("clip", "reward"), [(True, 0.625), (False, 2.625)])
def test_rewards_are_clipped_one_by_one_before_they_are_summed(clip: bool, reward: float) -> None:
    stream = empty_stream(1, 1, 4, 3, 1)
    for to, each in enumerate((4, -3, 0.5)):
        append(stream, to, reward=each)
    # 1 - 0.5 * 1 + 0.25 * 0.5, or 4 - 0.5 * 3 + 0.25 * 0.5
    batch = transitions_of(stream, starting_at(0), ONE, np.array([0.5]), 3, clip)
    assert batch.reward.item() == reward
    one = sequences_of(stream, starting_at(0), ONE, np.array([0.5]), 0, 2, 1, clip)
    assert one.reward.tolist() == [[[1, -1] if clip else [4, -3]]]


@pytest.mark.parametrize("masked", [True, False])
def test_observations_and_masks_are_found_by_slots_counted_through_all_rings(masked: bool) -> None:
    envs = recorded_envs(0, 2, 1, masked)
    stream = stream_of(envs, 3, 1, masked)  # five slots in each ring
    step_all(envs, stream, np.random.default_rng(0), 4)
    indices = Indices(np.array([[0, 0], [1, 1]]), np.array([[0, 4], [4, 0]]))
    batch = transitions_of(stream, indices, np.ones((2, 2)), np.array([0.9, 0.5]))
    slots = [[envs[ring][0].slots[place] for ring, place in row] for row in
             ([(0, 0), (0, 4)], [(1, 4), (1, 0)])]  # fmt: skip
    for found, name in ((batch.obs, "obs"), (batch.mask, "mask")):
        expected = [[getattr(slot, name).tolist() for slot in row] for row in slots]
        assert found.tolist() == expected


@pytest.mark.parametrize(("end", "discount"), [("terminated", 0.0), ("truncated", 0.25)])
def test_three_steps_by_hand_with_an_end_after_two(end: str, discount: float) -> None:
    stream = empty_stream(1, 1, 10, 3)
    append(stream, 1, reward=1)
    append(stream, 2, reward=2, **{end: True})
    for k in range(3):
        append(stream, 3 + k, reward=4 * 2**k)
    nth = np.arange(3)[None]
    assert stream.sizes.item() == 3
    indices = located(stream, nth * 0, nth)
    batch = transitions_of(stream, indices, np.ones((1, 3)), np.array([0.5]), 3)
    assert batch.obs.tolist() == [[[0], [1], [-2]]]
    # 1 + 0.5 * 2; 2 alone; 4 + 0.5 * 8 + 0.25 * 16. Truncation keeps gamma^2 and gamma.
    assert batch.reward.tolist() == [[2, 2, 12]]
    assert batch.discount.tolist() == [[discount, 2 * discount, 0.125]]
    assert batch.next_obs.tolist() == [[[2], [2], [5]]]


def test_three_steps_by_hand_with_a_lost_life_after_two() -> None:
    stream = empty_stream(1, 1, 10, 3)
    for k in range(5):
        append(stream, 1 + k, reward=2**k, lost=k == 1)
    nth = np.arange(3)[None]
    assert stream.sizes.item() == 3
    batch = transitions_of(
        stream, located(stream, nth * 0, nth), np.ones((1, 3)), np.array([0.5]), 3
    )
    assert batch.obs.tolist() == [[[0], [1], [2]]]
    # 1 + 0.5 * 2; 2 alone; 4 + 0.5 * 8 + 0.25 * 16.
    assert batch.reward.tolist() == [[2, 2, 12]]
    assert batch.discount.tolist() == [[0, 0, 0.125]]
    assert batch.next_obs.tolist() == [[[2], [2], [5]]]


@pytest.mark.parametrize(("stored", "numbers"), [("u1", "f4"), ("f4", "f4"), ("f8", "f8")])
def test_batches_have_observations_as_stored_and_numbers_in_their_precision(
    stored: str, numbers: str
) -> None:
    obs, mask = np.full((1, 1, 2, 2), 255, stored), np.ones((1, 1, 10_000), bool)
    stream = Stream(3, obs, mask, False, 0, 1)
    false = np.zeros((1, 1), bool)
    stream.append(np.array([[9999]]), EnvStep(ONE / 3, false, false, false, obs, mask, obs, mask))
    zero = np.zeros((1, 1), np.int64)
    batch = transitions_of(stream, located(stream, zero, zero), ONE, np.array([0.9]))
    assert batch.obs.numpy().dtype == batch.next_obs.numpy().dtype == stored
    assert batch.obs.tolist() == obs.tolist()
    for name in ("reward", "discount", "weight"):
        assert getattr(batch, name).numpy().dtype == numbers
    assert batch.reward.item() == np.dtype(numbers).type(1 / 3)
    assert (batch.action.numpy().dtype, batch.action.item()) == (np.int64, 9999)


def check_sequence(
    batch: Sequences,
    at: tuple[int, int],
    env: RecordedEnv,
    place: int,
    shape: tuple[int, int],
    how: Sum,
    gamma: float,
) -> None:
    burn_in, length = shape
    slots = env.slots[place : place + burn_in + length + how.n_step]
    assert len(slots) == burn_in + length + how.n_step
    found = Sequences(*(each[at].tolist() for each in batch))
    assert found.obs == [slot.obs.tolist() for slot in slots]
    assert found.state == slots[0].state.tolist()
    # The stored state is already empty where an episode starts with the first slot.
    assert found.starts == [False, *(slot.starts for slot in slots[1:])]
    for k, slot in enumerate(slots[burn_in : burn_in + length]):
        if slot.taken is None:
            assert found.weight[k] == 0
            continue
        where = place + burn_in + k
        reward, discount, steps = n_steps(env, where, how, gamma)
        assert found.action[k] == slot.taken.action
        assert found.mask[k] == slot.mask.tolist()
        assert near(found.reward[k], reward)
        assert near(found.discount[k], discount)
        assert found.ahead[k] == steps
        assert found.next_mask[k] == env.slots[where + steps].mask.tolist()
        assert found.weight[k] > 0


def counted(env: RecordedEnv, place: int, burn_in: int, length: int) -> list[bool]:
    slots = env.slots[place + burn_in : place + burn_in + length]
    return [slot.taken is not None for slot in slots]


def check_sequences(
    envs: Envs, stream: Stream, burn_in: int, length: int, how: Sum, *others: Stream
) -> None:
    """Every sequence that can be sampled, and the weights of a batch of them.

    The `others` hold the same as the stream.
    """
    gamma = np.array([0.9, 0.5])[: len(envs)]
    places = [[(env, place) for env in row for place in env.reachable(stream)] for row in envs]
    size = min(map(len, places))
    if size == 0:
        return
    places = [row[-size:] for row in places]  # batches have one size for all members
    ring = np.array([[env.ring for env, _ in row] for row in places])
    slot = np.array([[place for _, place in row] for row in places])
    weight = np.random.default_rng(size).random(ring.shape)
    shape = (burn_in, length)
    inputs = Indices(ring, slot), weight, gamma, *shape, *how
    batch = sequences_of(stream, *inputs)
    assert all(same(batch, sequences_of(other, *inputs)) for other in others)
    for member, column in np.ndindex(ring.shape):
        env, place = places[member][column]
        check_sequence(batch, (member, column), env, place, shape, how, gamma[member])
    for member, row in enumerate(places):
        mine = np.array([counted(env, place, burn_in, length) for env, place in row])
        expected = weight[member][:, None] * mine * mine.size / max(mine.sum(), 1)
        np.testing.assert_allclose(batch.weight[member].numpy(), expected, rtol=1e-12)


@pytest.mark.parametrize("n_step", [1, 3])
@pytest.mark.parametrize(("burn_in", "length"), [(0, 2), (0, 5), (2, 3), (4, 8)])
@pytest.mark.parametrize("seed", range(6))
def test_sequences_are_what_the_environments_emitted(
    seed: int, burn_in: int, length: int, n_step: int
) -> None:
    random = np.random.default_rng(seed)
    members, masked = 1 + seed % 2, seed < 3
    chances = random.choice([0.0, 0.1, 0.2]), random.choice([0.0, 0.2])
    frames, how = [0, 1, 2, 4][seed % 4], Sum(n_step, bool(random.random() < 0.5))
    envs = recorded_envs(seed, members, int(random.integers(1, 4)), masked, *chances, frames)
    window = burn_in + length + n_step - 1
    stream = stream_of(envs, int(random.choice([2, 8, 13])), window, masked)
    for _ in range(20):
        step_all(envs, stream, random, 4)
        check_sequences(envs, stream, burn_in, length, how)


def three_episodes() -> Stream:
    """Observations 0 1 2 | -2 3 4 | -4 5 6 7, where the first of two ends is a termination."""
    stream = empty_stream(1, 1, 10, state_size=1, window=6)
    for to in range(1, 8):
        append(stream, to, to == 2, to == 4, reward=to)
    return stream


def test_a_sequence_by_hand() -> None:
    batch = sequences_of(
        three_episodes(), starting_at(0), ONE, np.array([0.5]), burn_in=1, length=5
    )
    assert batch.obs[0, 0, :, 0].tolist() == [0, 1, 2, -2, 3, 4, -4]
    assert batch.starts.tolist() == [[[False, False, False, True, False, False, True]]]
    # Slots 1, 2, -2, 3 and 4 are learned from; the ends 2 and 4 begin nothing: 5 / 3 for the rest.
    assert batch.weight.tolist() == [[pytest.approx([5 / 3, 0, 5 / 3, 5 / 3, 0])]]
    counts = batch.weight[0, 0] > 0
    assert batch.reward[0, 0][counts].tolist() == [2, 3, 4]
    assert batch.discount[0, 0][counts].tolist() == [0, 0.5, 0.5]
    assert batch.ahead[0, 0][counts].tolist() == [1, 1, 1]


def test_weights_of_sequences_are_scaled_over_the_whole_batch() -> None:
    weight = np.array([[1.0, 0.5]])
    batch = sequences_of(
        three_episodes(), starting_at(0, 3), weight, np.array([0.5]), burn_in=0, length=2
    )
    # 0 1 and -2 3: all four count.
    assert batch.weight.tolist() == [[[1, 1], [0.5, 0.5]]]
    batch = sequences_of(
        three_episodes(), starting_at(1, 3), weight, np.array([0.5]), burn_in=0, length=2
    )
    # 1 and -2 3 count, 2 does not: 4 / 3 times the weights.
    assert batch.weight.tolist() == [[pytest.approx([4 / 3, 0]), pytest.approx([2 / 3, 2 / 3])]]


def test_a_mean_with_the_weights_is_the_mean_over_what_counts() -> None:
    batch = sequences_of(
        three_episodes(), starting_at(0, 1), np.ones((1, 2)), np.array([0.5]), 0, 6
    )
    counts = batch.weight > 0
    assert (batch.weight * batch.reward).mean().item() == pytest.approx(
        batch.reward[counts].mean().item()
    )


def test_a_batch_of_last_observations_alone_has_weight_zero_and_no_nan() -> None:
    # From 1, one step of burn-in, and the one slot to learn from is the end of the episode.
    batch = sequences_of(
        three_episodes(), starting_at(1), ONE, np.array([0.5]), burn_in=1, length=1
    )
    assert batch.weight.tolist() == [[[0]]]


def test_a_sequence_has_the_state_of_its_first_slot() -> None:
    envs = recorded_envs(3, 1, 2, end_chance=0.2)
    stream = stream_of(envs, 20, window=4)
    step_all(envs, stream, np.random.default_rng(0), 12)
    places: list[Array] = [np.array(env.reachable(stream)) for env in envs[0]]
    ring = np.repeat([0, 1], [len(each) for each in places])[None]
    indices = Indices(ring, np.concatenate(places)[None])
    found = sequences_of(stream, indices, np.ones(ring.shape), np.array([0.9]), 2, 2).state
    expected = [env.slots[place].state.tolist() for env, each in zip(envs[0], places, strict=True)
                for place in each]  # fmt: skip
    assert found.dtype == torch.float32
    assert found.tolist() == [expected]


@pytest.mark.parametrize("stored", ["u1", "f4", "f8"])
def test_sequences_have_the_dtypes_of_batches(stored: str) -> None:
    obs, mask = np.full((1, 1, 2, 2), 255, stored), np.ones((1, 1, 3), bool)
    stream = Stream(4, obs, mask, False, 2, 2)
    false = np.zeros((1, 1), bool)
    for _ in range(3):
        step = EnvStep(ONE / 3, false, false, false, obs, mask, obs, mask)
        stream.append(np.ones((1, 1)), step, np.ones((1, 1, 2)))
    batch = sequences_of(stream, starting_at(0), ONE, np.array([0.9]), 1, 1)
    assert batch.obs.numpy().dtype == stored
    numbers = "f8" if stored == "f8" else "f4"
    for name in ("reward", "discount", "weight"):
        assert getattr(batch, name).numpy().dtype == numbers
    assert batch.action.dtype == batch.ahead.dtype == torch.int64
    assert batch.starts.dtype == batch.mask.dtype == torch.bool
