from __future__ import annotations

import numpy as np
import pytest
import torch
from recorded_envs import (
    Envs,
    RecordedEnv,
    append,
    empty_stream,
    every_transition,
    located,
    recorded_envs,
    sequences_of,
    starting_at,
    step_all,
    stream_of,
    transitions_of,
)

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.arrays import Array
from dqn_cli.replay.stream import Indices, Step, Stream

ONE = np.ones((1, 1))


def n_steps(env: RecordedEnv, place: int, n_step: int, gamma: float) -> tuple[float, float, int]:
    """Reward, discount and number of steps from a slot on."""
    steps = env.steps(place, n_step)
    reward = sum(gamma**k * taken.reward for k, taken in enumerate(steps))
    return reward, 0.0 if steps[-1].terminated else gamma ** len(steps), len(steps)


def check_transition(
    batch: Batch, at: tuple[int, int], env: RecordedEnv, place: int, n_step: int, gamma: float
) -> None:
    reward, discount, steps = n_steps(env, place, n_step, gamma)
    first, last = env.slots[place], env.slots[place + steps]
    assert batch.obs[at].tolist() == first.obs.tolist()
    assert batch.action[at] == env.begins(place).action
    assert batch.mask[at].tolist() == first.mask.tolist()
    assert batch.reward[at].item() == pytest.approx(reward, abs=1e-12)
    assert batch.discount[at].item() == pytest.approx(discount, abs=1e-12)
    assert batch.next_obs[at].tolist() == last.obs.tolist()
    assert batch.next_mask[at].tolist() == last.mask.tolist()


def check_transitions(envs: Envs, stream: Stream, n_step: int) -> None:
    """Every transition that can be sampled is the one that the record has in its place."""
    gamma = np.array([0.9, 0.5])[: len(envs)]
    ring, nth = every_transition(stream)
    weight = np.random.default_rng(0).random(ring.shape)
    batch = transitions_of(stream, located(stream, ring, nth), weight, gamma, n_step)
    assert batch.weight.tolist() == weight.tolist()
    for member, column in np.ndindex(ring.shape):
        env = envs[member][column // stream.capacity]
        places = env.reachable(stream)
        if nth[member, column] < len(places):
            place = places[nth[member, column]]
            check_transition(batch, (member, column), env, place, n_step, gamma[member])


@pytest.mark.parametrize("seed", range(60))
def test_whatever_is_sampled_is_what_the_environments_emitted(seed: int) -> None:
    random = np.random.default_rng(seed)
    members, n_step, masked = 1 + seed // 2 % 2, int(random.integers(1, 6)), bool(seed % 2)
    end_chance = random.choice([0.0, 0.05, 0.3, 0.6])
    envs = recorded_envs(seed, members, int(random.integers(1, 4)), masked, end_chance)
    stream = stream_of(envs, int(random.choice([1, 2, 3, 5, 8, 13])), n_step, masked)
    for _ in range(45):
        step_all(envs, stream, random)
        check_transitions(envs, stream, n_step)


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


@pytest.mark.parametrize(("stored", "numbers"), [("u1", "f4"), ("f4", "f4"), ("f8", "f8")])
def test_batches_have_observations_as_stored_and_numbers_in_their_precision(
    stored: str, numbers: str
) -> None:
    obs, mask = np.full((1, 1, 2, 2), 255, stored), np.ones((1, 1, 10_000), bool)
    stream = Stream(3, obs, mask, False, 0, 1)
    false = np.zeros((1, 1), bool)
    stream.append(np.array([[9999]]), Step(ONE / 3, false, false, obs, mask, obs, mask))
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
    shape: tuple[int, int, int],
    gamma: float,
) -> None:
    burn_in, length, n_step = shape
    slots = env.slots[place : place + burn_in + length + n_step]
    assert len(slots) == burn_in + length + n_step
    assert batch.obs[at].tolist() == [slot.obs.tolist() for slot in slots]
    assert batch.state[at].tolist() == slots[0].state.tolist()
    # The stored state is already empty where an episode starts with the first slot.
    assert batch.starts[at].tolist() == [False, *(slot.starts for slot in slots[1:])]
    for k, slot in enumerate(slots[burn_in : burn_in + length]):
        if slot.taken is None:
            assert batch.weight[at][k] == 0
            continue
        where = place + burn_in + k
        reward, discount, steps = n_steps(env, where, n_step, gamma)
        assert batch.action[at][k] == slot.taken.action
        assert batch.mask[at][k].tolist() == slot.mask.tolist()
        assert batch.reward[at][k].item() == pytest.approx(reward, abs=1e-12)
        assert batch.discount[at][k].item() == pytest.approx(discount, abs=1e-12)
        assert batch.ahead[at][k] == steps
        assert batch.next_mask[at][k].tolist() == env.slots[where + steps].mask.tolist()
        assert batch.weight[at][k] > 0


def counted(env: RecordedEnv, place: int, burn_in: int, length: int) -> list[bool]:
    slots = env.slots[place + burn_in : place + burn_in + length]
    return [slot.taken is not None for slot in slots]


def check_sequences(envs: Envs, stream: Stream, burn_in: int, length: int, n_step: int) -> None:
    """Every sequence that can be sampled, and the weights of a batch of them."""
    gamma = np.array([0.9, 0.5])[: len(envs)]
    places = [[(env, place) for env in row for place in env.reachable(stream)] for row in envs]
    size = min(map(len, places))
    if size == 0:
        return
    places = [row[-size:] for row in places]  # batches have one size for all members
    ring = np.array([[env.ring for env, _ in row] for row in places])
    slot = np.array([[place for _, place in row] for row in places])
    weight = np.random.default_rng(size).random(ring.shape)
    shape = (burn_in, length, n_step)
    batch = sequences_of(stream, Indices(ring, slot), weight, gamma, *shape)
    for member, column in np.ndindex(ring.shape):
        env, place = places[member][column]
        check_sequence(batch, (member, column), env, place, shape, gamma[member])
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
    end_chance = random.choice([0.0, 0.1, 0.2])
    envs = recorded_envs(seed, members, int(random.integers(1, 4)), masked, end_chance)
    window = burn_in + length + n_step - 1
    stream = stream_of(envs, int(random.choice([2, 8, 13])), window, masked)
    for _ in range(20):
        step_all(envs, stream, random, 4)
        check_sequences(envs, stream, burn_in, length, n_step)


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
    # Learned from are 1, 2, -2, 3 and 4; the ends 2 and 4 begin nothing, so 5 / 3 for the others.
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
        step = Step(ONE / 3, false, false, obs, mask, obs, mask)
        stream.append(np.ones((1, 1)), step, np.ones((1, 1, 2)))
    batch = sequences_of(stream, starting_at(0), ONE, np.array([0.9]), 1, 1)
    assert batch.obs.numpy().dtype == stored
    numbers = "f8" if stored == "f8" else "f4"
    for name in ("reward", "discount", "weight"):
        assert getattr(batch, name).numpy().dtype == numbers
    assert batch.action.dtype == batch.ahead.dtype == torch.int64
    assert batch.starts.dtype == batch.mask.dtype == torch.bool
