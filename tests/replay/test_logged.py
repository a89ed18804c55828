from __future__ import annotations

import numpy as np
import pytest

from dqn_cli.agent.batch import Batch, Sequences
from dqn_cli.replay.batches import BatchSpec, build_batch
from dqn_cli.replay.logged import Transitions, hold_data, put_first
from dqn_cli.replay.stream import EnvStep, Indices, Stream

GAMMA = np.array([0.5])


def episodes(*lengths: int, truncated: tuple[bool, ...]) -> Transitions:
    """Observations are 1, 2, 3, ..., and those after an episode 101, 102, ...; rewards 2^t."""
    rows = np.arange(sum(lengths))
    last = np.cumsum(lengths) - 1
    cut = np.zeros(rows.shape, bool)
    cut[last] = truncated
    return Transitions(
        obs=1.0 + rows[:, None],
        action=rows % 2,
        reward=2.0**rows,
        terminated=np.isin(rows, last) & ~cut,
        truncated=cut,
        lost=rows == 0,
        mask=np.ones((rows.size, 2), bool),
        last_obs=101.0 + np.arange(len(lengths))[:, None],
        last_mask=np.ones((len(lengths), 2), bool),
    )


DATA = episodes(3, 1, 2, truncated=(False, True, True))


def stream_for(
    capacity: int, envs: int = 1, window: int = 1, frames: int = 0, state: int = 0
) -> Stream:
    obs = np.full((1, envs, *((frames,) if frames else ()), 1), -5.0)
    return Stream(capacity, obs, np.ones((1, envs, 2), bool), False, state, window, frames)


def every_row(stream: Stream, spec: BatchSpec) -> Batch | Sequences:
    """The batch of all transitions that can be sampled."""
    slots = [stream.queue[ring, : stream.count[ring]] for ring in range(stream.head.size)]
    rings = [np.full(len(slot), ring) for ring, slot in enumerate(slots)]
    where = Indices(np.concatenate(rings)[None], np.concatenate(slots)[None])
    return build_batch(stream.storage, where, np.ones(where.slot.shape), GAMMA, spec)


def test_n_step_returns_of_a_file_end_with_its_episodes_by_hand() -> None:
    stream = stream_for(DATA.slots, window=3)
    hold_data(stream, DATA)
    stream.check_valid()
    batch = every_row(stream, BatchSpec(3, 2, 0, False, logged=True))
    assert isinstance(batch, Batch)
    # Every transition can be sampled. A life is lost in the first one, which ends its return.
    assert batch.obs[0, :, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert batch.reward.tolist() == [[1, 2 + 0.5 * 4, 4, 8, 16 + 0.5 * 32, 32]]
    assert batch.discount.tolist() == [[0, 0, 0, 0.5, 0.25, 0.5]]
    assert batch.next_obs[0, 3:, 0].tolist() == [102, 103, 103]
    assert batch.logged.all()


def test_one_step_transitions_lead_to_the_next_row_or_to_what_followed_the_end() -> None:
    stream = stream_for(DATA.slots)
    hold_data(stream, DATA)
    batch = every_row(stream, BatchSpec(1, 2, 0, False))
    assert isinstance(batch, Batch)
    assert batch.next_obs[0, :, 0].tolist() == [2, 3, 101, 102, 6, 103]
    assert batch.action.tolist() == [[0, 1, 0, 1, 0, 1]]
    assert not batch.logged.any()


def test_stacks_of_frames_begin_with_their_episode() -> None:
    stream = stream_for(DATA.slots, frames=2)
    hold_data(stream, DATA)
    batch = every_row(stream, BatchSpec(1, 2, 2, False))
    assert isinstance(batch, Batch)
    assert batch.obs[0, ..., 0].tolist() == [[0, 1], [1, 2], [2, 3], [0, 4], [0, 5], [5, 6]]
    assert batch.next_obs[0, ..., 0].tolist()[2:4] == [[3, 101], [4, 102]]


def test_sequences_run_through_ends_which_have_no_weight() -> None:
    spec = BatchSpec(1, 2, 0, False, burn_in=1, length=3, logged=True)
    stream = stream_for(DATA.slots, window=spec.window, state=2)
    hold_data(stream, DATA)
    stream.check_valid()
    batch = every_row(stream, spec)
    assert isinstance(batch, Sequences)
    assert batch.obs.shape[1] == DATA.rows
    # From observation 2 on: 3 is learned from, its episode's last observation is not, 4 is again.
    assert batch.obs[0, 1, :, 0].tolist() == [2, 3, 101, 4, 102]
    assert (batch.weight[0, 1] > 0).tolist() == [True, False, True]
    assert batch.starts[0, 1].tolist() == [False, False, False, True, False]
    assert batch.logged.all()


def test_every_member_holds_the_data() -> None:
    obs, mask = np.zeros((2, 1, 1)), np.ones((2, 1, 2), bool)
    stream = Stream(DATA.slots, obs, mask, False, 0, 1)
    hold_data(stream, DATA)
    assert stream.count.tolist() == [DATA.rows] * 2
    assert np.array_equal(stream.obs[0], stream.obs[1])


def test_data_come_first_and_the_run_goes_on_behind_them() -> None:
    stream = stream_for(20, window=2)
    put_first(stream, DATA)
    assert stream.obs[0, DATA.slots] == -5  # the observation to act on
    step = EnvStep(
        np.array([[7.0]]), *(np.zeros((1, 1), bool) for _ in range(3)), np.array([[[-6.0]]]),
        np.ones((1, 1, 2), bool), np.array([[[-6.0]]]), np.ones((1, 1, 2), bool),
    )  # fmt: skip
    for _ in range(2):
        stream.append(np.array([[1]]), step)
    stream.check_valid()
    batch = every_row(stream, BatchSpec(2, 2, 0, False))
    assert isinstance(batch, Batch)
    assert batch.obs[0, :, 0].tolist() == [1, 2, 3, 4, 5, 6, -5]
    assert batch.reward[0, -2:].tolist() == [32, 7 + 0.5 * 7]  # not 32 + 0.5 * 7
    assert stream.appends == 2


def test_episodes_are_shared_between_environments() -> None:
    stream = stream_for(20, envs=2)
    put_first(stream, DATA)
    stream.check_valid()
    batch = every_row(stream, BatchSpec(1, 2, 0, False))
    assert isinstance(batch, Batch)
    assert batch.obs[0, :, 0].tolist() == [1, 2, 3, 4, 5, 6]
    assert stream.count.tolist() == [3, 3]


def test_data_that_do_not_fit_into_the_replay_say_what_would() -> None:
    with pytest.raises(ValueError, match=r"replay.capacity=8 does not hold them: use .*=9 or more"):
        put_first(stream_for(8), DATA)
    put_first(stream_for(9), DATA)


def test_returns_are_sums_of_each_episode() -> None:
    assert DATA.returns.tolist() == [1 + 2 + 4, 8, 16 + 32]
    assert (DATA.rows, DATA.episodes, DATA.slots) == (6, 3, 9)
