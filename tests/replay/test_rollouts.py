from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from recorded_envs import (
    ACTIONS,
    FRAME,
    IN_TENSORS,
    RecordedEnv,
    append,
    empty_stream,
    go_on_from,
    kept_of,
    next_transitions,
    numbers,
    recorded_envs,
    step_all,
    stream_of,
    transitions_spec,
)
from recorded_vector import RecordedVector

from dqn_cli.agent.batch import Batch
from dqn_cli.arrays import Array
from dqn_cli.replay.rollouts import Rollout, RolloutSampler, lambda_returns
from dqn_cli.replay.samplers import Draw
from dqn_cli.replay.stream import EnvStep, Stream

GAMMA = np.array([0.9, 0.5])
FACTORS = np.array([1.0, -2.0, 0.3])


def by_hand(trace_decay: float, discount: list[float], ended: list[int]) -> list[float]:
    """Rewards 1, 2, 3, 4; the values of what followed are 10, 20, 30, 40; gamma is 0.5."""
    ends = np.isin(np.arange(4), ended)
    values = (np.arange(1.0, 5), np.array(discount), np.arange(10.0, 50, 10), ends)
    returns = lambda_returns(*(each[None, None] for each in values), trace_decay)
    return [float(each) for each in returns[0, 0]]


HALF = [0.5] * 4


@pytest.mark.parametrize(
    ("trace_decay", "discount", "ended", "expected"),
    [
        # 1 + 5, 2 + 10, 3 + 15, 4 + 20: one step ahead, whatever ends
        (0.0, HALF, [], [6, 12, 18, 24]),
        (0.0, HALF, [1], [6, 12, 18, 24]),
        (0.0, [0.5, 0, 0.5, 0.5], [1], [6, 2, 18, 24]),
        # 24; 3 + 12 = 15; 2 + 7.5 = 9.5; 1 + 4.75 = 5.75
        (1.0, HALF, [], [5.75, 9.5, 15, 24]),
        # truncated after the second: 2 + 10 = 12; 1 + 6 = 7
        (1.0, HALF, [1], [7, 12, 15, 24]),
        # terminated after the second: 2; 1 + 1 = 2
        (1.0, [0.5, 0, 0.5, 0.5], [1], [2, 2, 15, 24]),
        # the last one ends: 4, 3 + 2 = 5, 2 + 2.5 = 4.5, 1 + 2.25 = 3.25
        (1.0, [0.5, 0.5, 0.5, 0], [3], [3.25, 4.5, 5, 4]),
        (1.0, HALF, [3], [5.75, 9.5, 15, 24]),
        # 24; 3 + (30 + 24) / 4 = 16.5; 2 + (20 + 16.5) / 4 = 11.125; 1 + 21.125 / 4 = 6.28125
        (0.5, HALF, [], [6.28125, 11.125, 16.5, 24]),
        # truncated after the second: 2 + 10 = 12; 1 + (10 + 12) / 4 = 6.5
        (0.5, HALF, [1], [6.5, 12, 16.5, 24]),
        # terminated there: 2; 1 + (10 + 2) / 4 = 4
        (0.5, [0.5, 0, 0.5, 0.5], [1], [4, 2, 16.5, 24]),
        # every step ends, by turns in both ways
        (1.0, [0.5, 0, 0.5, 0], [0, 1, 2, 3], [6, 2, 18, 4]),
    ],
)
def test_lambda_returns_by_hand(
    trace_decay: float, discount: list[float], ended: list[int], expected: list[float]
) -> None:
    assert by_hand(trace_decay, discount, ended) == pytest.approx(expected)


def test_one_step_alone_is_bootstrapped_with_its_value() -> None:
    values = (np.array([[[each]]]) for each in (1.0, 0.5, 10.0, False))
    reward, discount, next_value, ended = values
    for trace_decay in (0.0, 0.7, 1.0):
        returns = lambda_returns(reward, discount, next_value, ended, trace_decay)
        assert returns.tolist() == [[[6]]]


def values_of(obs: Array) -> Array:
    """Action values that tell observations and actions apart, [..., actions]."""
    seen = obs.reshape(*obs.shape[:2], -1, FRAME).sum(2)
    return np.asarray(np.sin(3.1 * seen[..., :1] + seen[..., 1:] * FACTORS))


def value(env: RecordedEnv, place: int) -> float:
    slot = env.slots[place]
    ring, count = slot.obs.reshape(-1, FRAME).sum(0)
    q = np.sin(3.1 * ring + count * FACTORS)
    return float(q[slot.mask].max())


def slow_return(env: RecordedEnv, place: int, last: int, gamma: float, trace_decay: float) -> float:
    """The lambda return of a slot, if slot `last` begins the rollout's last transition."""
    taken = env.begins(place)
    if taken.ends_life:
        return taken.reward
    bootstrap = value(env, place + 1)
    if taken.truncated or place == last:
        return taken.reward + gamma * bootstrap
    following = slow_return(env, place + 1, last, gamma, trace_decay)
    return taken.reward + gamma * ((1 - trace_decay) * bootstrap + trace_decay * following)


def sampler_of(
    stream: Stream, batch_size: int, trace_decay: float = 0.65, gamma: Array = GAMMA
) -> RolloutSampler:
    replay = Rollout(10**6, batch_size, 1, trace_decay)
    spec = transitions_spec(frames=stream.frames)
    sampler = replay.sampler(stream, spec, gamma[: stream.members])
    assert isinstance(sampler, RolloutSampler)
    return sampler


def epoch(sampler: RolloutSampler, uniforms: Callable[..., Array], batches: int) -> list[Batch]:
    return [next_transitions(sampler, uniforms, 0.5) for _ in range(batches)]


@pytest.mark.parametrize(("frames", "device"), [(0, "cpu"), (3, "cpu"), (3, IN_TENSORS)])
@pytest.mark.parametrize("trace_decay", [0.0, 0.65, 1.0])
@pytest.mark.parametrize(("members", "envs", "end_chance"), [(1, 1, 0.0), (1, 3, 0.2), (2, 2, 0.5)])
def test_an_epoch_has_each_new_transition_once_with_its_lambda_return(
    members: int, envs: int, end_chance: float, trace_decay: float, frames: int, device: str
) -> None:
    random = np.random.default_rng(1)
    recorded = recorded_envs(5, members, envs, True, end_chance, 0.1, frames)
    stream = stream_of(recorded, 24 * envs, 1, True, device)
    sampler = sampler_of(stream, envs * 3, trace_decay)
    began = [[0] * envs for _ in range(members)]
    for _ in range(8):
        step_all(recorded, stream, random, 12)
        sampler.on_rollout(values_of)
        batches = epoch(sampler, numbers(random, members), 2 * 12 * envs // (envs * 3))
        for half in (batches[: len(batches) // 2], batches[len(batches) // 2 :]):
            check_epoch(half, recorded, began, trace_decay)
        began = [[len(env.slots) - 1 for env in row] for row in recorded]


def check_epoch(
    batches: list[Batch],
    recorded: list[list[RecordedEnv]],
    began: list[list[int]],
    trace_decay: float,
) -> None:
    for member, row in enumerate(recorded):
        found = {}
        for batch in batches:
            frames = batch.obs[member].reshape(-1, max(row[0].frames, 1), FRAME).int()
            for column, (ring, count) in enumerate(frames[:, -1].tolist()):
                assert (ring, count - 1) not in found
                found[ring, count - 1] = batch, (member, column)
        expected = [
            (env, place)
            for env, since in zip(row, began[member], strict=True)
            for place in range(since, len(env.slots))
            if env.slots[place].taken
        ]
        assert set(found) == {(env.ring, place) for env, place in expected}
        last = {env.ring: place for env, place in expected}
        for env, place in expected:
            batch, at = found[env.ring, place]
            slot, taken = env.slots[place], env.begins(place)
            wanted = slow_return(env, place, last[env.ring], GAMMA[member], trace_decay)
            assert batch.reward[at].item() == pytest.approx(wanted, abs=1e-9)
            assert batch.obs[at].tolist() == slot.obs.tolist()
            assert batch.action[at] == taken.action
            assert batch.mask[at].tolist() == slot.mask.tolist()
            assert batch.weight[at] == 1


def stream_of_four() -> Stream:
    stream = empty_stream(1, 1, 40)
    for to in range(1, 5):
        append(stream, to, reward=to)
    return stream


def zeros(obs: Array) -> Array:
    return np.zeros((*obs.shape[:2], ACTIONS))


def rewards(batch: Batch) -> list[float]:
    found: list[float] = batch.reward.ravel().tolist()
    return found


def in_order(size: int) -> Array:
    """Numbers that leave the rollout's order as it is."""
    return np.arange(size)[None] / size


def test_nothing_is_left_to_look_ahead_to() -> None:
    sampler = sampler_of(stream_of_four(), 4)
    sampler.on_rollout(zeros)
    (batch,) = epoch(sampler, in_order, 1)
    assert batch.discount.tolist() == [[0] * 4]
    assert batch.next_obs.shape == (1, 4, 0)
    assert batch.weight.tolist() == [[1] * 4]


def test_the_first_rollout_is_everything_and_the_next_what_came_since() -> None:
    stream = stream_of_four()
    sampler = sampler_of(stream, 3, trace_decay=0)
    sampler.on_rollout(zeros)
    assert rewards(epoch(sampler, in_order, 1)[0]) == [1, 2, 3]
    for to in (5, 6, 7):
        append(stream, to, truncated=to == 6, reward=to)
    sampler.on_rollout(zeros)
    for batch in epoch(sampler, in_order, 5):
        assert rewards(batch) == [5, 6, 7]


def test_an_old_rollout_stays_what_it_was_until_the_next_begins() -> None:
    stream = stream_of_four()
    sampler = sampler_of(stream, 4, trace_decay=0)
    sampler.on_rollout(zeros)
    append(stream, 5, reward=5)
    assert rewards(epoch(sampler, in_order, 1)[0]) == [1, 2, 3, 4]


def test_what_is_too_little_for_a_batch_is_left_out_of_its_epoch() -> None:
    sampler = sampler_of(stream_of_four(), 3, trace_decay=0)
    sampler.on_rollout(zeros)
    random = np.random.default_rng(0)
    seen: set[float] = set()
    for batch in epoch(sampler, numbers(random, 1), 40):
        assert len(set(rewards(batch))) == 3
        seen |= set(rewards(batch))
    assert seen == {1, 2, 3, 4}


def test_an_epochs_order_is_that_of_its_numbers() -> None:
    sampler = sampler_of(stream_of_four(), 2, trace_decay=0)
    sampler.on_rollout(zeros)
    orders = iter([np.array([[0.4, 0.1, 0.3, 0.2]]), np.array([[0.1, 0.2, 0.9, 0.8]])])
    drawn = [rewards(batch) for batch in epoch(sampler, lambda size: next(orders), 4)]
    assert drawn == [[2, 4], [3, 1], [1, 2], [4, 3]]


def test_a_new_rollout_begins_a_new_epoch() -> None:
    stream = stream_of_four()
    sampler = sampler_of(stream, 2, trace_decay=0)
    sampler.on_rollout(zeros)
    epoch(sampler, in_order, 1)
    for to in (5, 6):
        append(stream, to, reward=to)
    sampler.on_rollout(zeros)
    assert rewards(epoch(sampler, in_order, 1)[0]) == [5, 6]


def test_a_batch_larger_than_the_rollout_is_the_whole_rollout() -> None:
    sampler = sampler_of(stream_of_four(), 100, trace_decay=0)
    sampler.on_rollout(zeros)
    for batch in epoch(sampler, in_order, 2):
        assert rewards(batch) == [1, 2, 3, 4]


def test_values_are_asked_once_and_of_what_followed_each_transition() -> None:
    stream = empty_stream(1, 2, 20)
    append(stream, 1)
    append(stream, 2, terminated=True)
    append(stream, 3)
    asked = []

    def values(obs: Array) -> Array:
        asked.append(obs.tolist())
        return zeros(obs)

    sampler = sampler_of(stream, 6)
    sampler.on_rollout(values)
    epoch(sampler, in_order, 3)
    assert asked == [[[[1], [2], [3], [1], [2], [3]]]]


def test_illegal_actions_are_worth_nothing_in_a_return() -> None:
    recorded = recorded_envs(0, 1, 1)
    stream = stream_of(recorded, 5, 1, True)
    step_all(recorded, stream, np.random.default_rng(0))
    stream.mask[0, 1] = [True, False, True]
    sampler = sampler_of(stream, 1, gamma=np.array([0.5]))
    sampler.on_rollout(lambda obs: np.array([[[1.0, 100.0, 2.0]]]))
    reward = recorded[0][0].begins(0).reward
    assert rewards(epoch(sampler, in_order, 1)[0]) == pytest.approx([reward + 0.5 * 2])


def rollout_of(sampler: RolloutSampler) -> Batch:
    rollout = sampler.storage.rollout
    assert rollout is not None
    return rollout


def check_gathered(sampler: RolloutSampler, rollout: Batch, draw: Draw) -> None:
    """A draw's samples are its indices, and their batch has exactly these rows of the rollout."""
    storage = sampler.storage._replace(rollout=rollout)
    samples = sampler.sample(storage, draw)
    assert samples.position.tolist() == draw.numbers.tolist()
    assert samples.weight.tolist() == np.ones(draw.numbers.shape).tolist()
    batch = sampler.batch(storage, samples)
    assert isinstance(batch, Batch)
    for values, gathered in zip(rollout, batch, strict=True):
        rows = zip(values, draw.numbers.tolist(), strict=True)
        expected = torch.stack([mine[indices] for mine, indices in rows])  # [members, batch, ...]
        assert gathered.dtype == expected.dtype
        assert torch.equal(gathered, expected)


@pytest.mark.parametrize("frames", [0, 3])
def test_a_batch_has_exactly_the_drawn_rows_of_the_rollout(frames: int) -> None:
    random, recorded = np.random.default_rng(3), recorded_envs(2, 2, 2, True, 0.2, 0.1, frames)
    stream = stream_of(recorded, 40, 1, True)
    sampler, rollouts = sampler_of(stream, 5), list[Batch]()
    for _ in range(2):
        step_all(recorded, stream, random, 9)
        sampler.on_rollout(values_of)
        rollouts.append(rollout_of(sampler))
        for _ in range(5):
            draw = sampler.draw(numbers(random, 2), [0.0, 0.5])
            assert draw.progress is None
            check_gathered(sampler, rollouts[-1], draw)
    repeated = Draw(np.array([[7, 7, 0, 17], [1, 16, 16, 1]]))
    for rollout in rollouts:  # samples come from the given storage, also after the next rollout
        check_gathered(sampler, rollout, repeated)


def test_the_storage_holds_the_newest_rollout() -> None:
    stream = stream_of_four()
    sampler = sampler_of(stream, 3, trace_decay=0)
    assert sampler.storage.rollout is None
    sampler.on_rollout(zeros)
    first = rollout_of(sampler)
    assert rewards(first) == [1, 2, 3, 4]
    assert first.obs.tolist() == [[[0], [1], [2], [3]]]
    for to in (5, 6):
        append(stream, to, reward=to)
    assert rollout_of(sampler) is first
    sampler.draw(in_order, [0.0])
    assert rollout_of(sampler) is first
    sampler.on_rollout(zeros)
    assert rewards(rollout_of(sampler)) == [5, 6]
    assert rollout_of(sampler).obs.tolist() == [[[4], [5]]]
    assert rewards(first) == [1, 2, 3, 4]  # and is not changed by what follows


def test_a_batch_without_a_rollout_is_a_mistake() -> None:
    with pytest.raises(AssertionError, match="on_rollout comes first"):
        sampler_of(stream_of_four(), 2).draw(in_order, [0.0])


def test_a_rollout_longer_than_half_the_buffer_is_the_newest_half() -> None:
    stream = empty_stream(1, 2, 10)  # 5 in each ring
    sampler = sampler_of(stream, 4, trace_decay=0)
    for to in range(1, 9):
        append(stream, to, reward=to)
    sampler.on_rollout(zeros)
    assert rewards(epoch(sampler, in_order, 1)[0]) == [7, 8] * 2


def test_a_sampler_goes_on_from_its_contents() -> None:
    stream = stream_of_four()
    sampler = sampler_of(stream, 2, trace_decay=0)
    sampler.on_rollout(zeros)
    append(stream, 5, reward=5)
    append(stream, 6, reward=6)
    kept = kept_of(stream, sampler)
    fresh = empty_stream(1, 1, 40)
    other = sampler_of(fresh, 2, trace_decay=0)
    go_on_from(kept, fresh, other)
    append(fresh, 7, reward=7)
    other.on_rollout(zeros)
    drawn = [rewards(batch) for batch in epoch(other, numbers(np.random.default_rng(0), 1), 20)]
    assert {reward for row in drawn for reward in row} == {5, 6, 7}
    assert kept[0][1]["trained"].tolist() == 4  # and is not changed by what follows


@pytest.mark.parametrize("lengths", [(3, 1, 5), (50,), (1,)])
def test_only_new_transitions_count_where_steps_begin_episodes(lengths: tuple[int, ...]) -> None:
    copies, decay = 4, 0.65
    vector = RecordedVector(copies, lengths=lengths)
    obs, mask = vector.reset()[0][None].copy(), np.ones((1, copies, ACTIONS), bool)
    stream = Stream(400, obs, mask, False, 0, 1)
    sampler = sampler_of(stream, 4, decay)
    none, over = np.zeros((1, copies), bool), np.zeros((1, copies), bool)
    seen = 0
    for _ in range(6):
        for _ in range(8):
            new, reward, ended, _, _ = vector.step(np.zeros(copies, int))
            now, resets = new[None].copy(), over
            step = EnvStep(
                reward[None], ended[None], none, none, now, mask, now, mask, is_reset=resets
            )
            stream.append(np.zeros((1, copies), int), step)
            over = ended[None]
        sampler.on_rollout(lambda obs: obs[..., :1] + np.zeros(ACTIONS))
        rollout = rollout_of(sampler)
        is_new = rollout.weight[0].numpy() > 0
        assert is_new.sum() == vector.transitions - seen
        seen = vector.transitions
        # The value of what follows is the copy's number, in the episode that a transition is of.
        started = rollout.obs[0].numpy()[is_new]
        assert len({tuple(row) for row in started[:, :3].tolist()}) == len(started)
        last = np.array(lengths)[(started[:, :2].sum(1) % len(lengths)).astype(int)]
        ends = started[:, 2] + 1 == last
        returns = rollout.reward[0].numpy()[is_new]
        np.testing.assert_allclose(returns[ends], started[ends, 2] + 1)


def test_rewards_have_the_streams_precision() -> None:
    sampler = sampler_of(stream_of_four(), 4)
    sampler.on_rollout(zeros)
    (batch,) = epoch(sampler, in_order, 1)
    assert batch.reward.numpy().dtype == sampler.stream.reward.dtype == np.float64


def test_lambda_may_differ_between_members() -> None:
    decays = [0.0, 0.5, 1.0]
    random, shape = np.random.default_rng(0), (3, 2, 7)
    values = [random.normal(size=shape) for _ in range(3)]
    ended = random.random(shape) < 0.2
    together = lambda_returns(*values, ended, np.array(decays)[:, None])
    for member, decay in enumerate(decays):
        own = (each[[member]] for each in values)
        np.testing.assert_array_equal(
            together[[member]], lambda_returns(*own, ended[[member]], decay)
        )
