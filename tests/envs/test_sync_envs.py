from __future__ import annotations

import numpy as np
import pytest
from scripted import MadeEnv, Scripted, arrays_of, made

from dqn_cli.envs.contract import EnvironmentFailure
from dqn_cli.envs.sync_envs import SyncEnvs
from dqn_cli.replay.stream import EnvStep

FLOAT = np.dtype(np.float32)


def sync_envs(*envs: Scripted) -> SyncEnvs:
    return SyncEnvs("Name-v0", [lambda env=env: made(env) for env in envs])


def started(*envs: Scripted) -> SyncEnvs:
    rows = sync_envs(*envs)
    rows.reset(3, FLOAT)
    return rows


def copied(step: EnvStep) -> EnvStep:
    return EnvStep(*(array.copy() for array in arrays_of(step)))


def assert_equal(actual: EnvStep, expected: EnvStep) -> None:
    for value, expected_value in zip(arrays_of(actual), arrays_of(expected), strict=True):
        np.testing.assert_array_equal(value, expected_value)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_first_observations_have_the_given_type(dtype: str) -> None:
    obs, mask, masked = sync_envs(Scripted(process=4), Scripted(process=5)).reset(
        3, np.dtype(dtype)
    )
    assert obs.dtype == dtype
    assert obs.tolist() == [[0, 0, 4], [0, 0, 5]]
    assert mask.dtype == bool
    assert mask.tolist() == [[True] * 3] * 2
    assert not masked


def test_later_observations_have_the_same_type() -> None:
    rows = started(Scripted(length=1))
    step = rows.step([0])
    assert step.obs.dtype == step.final_obs.dtype == FLOAT


def test_the_spaces_are_those_of_one_environment() -> None:
    assert sync_envs(Scripted(), Scripted()).spaces == made(Scripted())[1]


def test_environments_are_closed_if_a_later_one_cannot_be_made() -> None:
    first = Scripted()

    def fail() -> MadeEnv:
        raise OSError("the port is taken")

    with pytest.raises(OSError, match="port"):
        SyncEnvs("Name-v0", [lambda: made(first), fail])
    assert first.closed == 1


def test_each_environment_gets_its_own_action() -> None:
    envs = Scripted(), Scripted(), Scripted()
    rows = started(*envs)
    for actions in ([0, 1, 2], [2, 2, 1]):
        rows.step(actions)
    assert [env.actions_taken for env in envs] == [[0, 2], [1, 2], [2, 1]]


def test_each_environment_needs_an_action() -> None:
    with pytest.raises(ValueError, match="zip"):
        started(Scripted(), Scripted()).step([0])


@pytest.mark.parametrize("truncates", [False, True])
def test_steps_are_arrays_of_floats_and_booleans(truncates: bool) -> None:
    rows = started(Scripted(2, truncates), Scripted(3, truncates))
    first, second = copied(rows.step([0, 0])), rows.step([0, 0])
    assert second.reward.dtype == np.float64
    assert second.reward.tolist() == [2, 2]
    assert first.ended.tolist() == [False, False]
    assert second.terminated.dtype == second.truncated.dtype == bool
    assert second.terminated.tolist() == [not truncates, False]
    assert second.truncated.tolist() == [truncates, False]


def test_only_an_environment_that_ended_restarts() -> None:
    rows = started(Scripted(length=1, process=4), Scripted(length=2, process=5))
    step = rows.step([0, 0])
    assert step.final_obs.tolist() == [[0, 1, 4], [0, 1, 5]]
    assert step.obs.tolist() == [[1, 0, 4], [0, 1, 5]]
    step = rows.step([0, 0])
    assert step.final_obs.tolist() == [[1, 1, 4], [0, 2, 5]]
    assert step.obs.tolist() == [[2, 0, 4], [1, 0, 5]]


def test_the_final_observation_is_the_next_one_unless_an_episode_ended() -> None:
    rows = started(Scripted(length=2))
    step = rows.step([0])
    assert step.final_obs is step.obs
    assert rows.step([0]).final_obs is not step.obs


@pytest.mark.parametrize("masks", [None, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]])
def test_returned_arrays_are_never_overwritten(masks: list[list[int]] | None) -> None:
    rows = sync_envs(Scripted(2, masks=masks), Scripted(1, masks=masks))
    start = rows.reset(3, FLOAT)[:2]
    kept_start = [array.copy() for array in start]
    steps = []
    for _ in range(5):
        step = rows.step([0, 0])
        steps.append((step, copied(step)))
    for step, kept in steps:
        assert_equal(step, kept)
    assert all(map(np.array_equal, start, kept_start))


def test_there_are_masks_of_the_final_state_and_of_the_next_one() -> None:
    masks = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    rows = sync_envs(Scripted(1, masks=masks), Scripted(2, masks=masks))
    _, mask, masked = rows.reset(3, FLOAT)
    assert masked
    assert mask.astype(int).tolist() == [[1, 0, 0], [1, 0, 0]]
    step = rows.step([0, 0])
    assert step.final_mask.dtype == step.mask.dtype == bool
    assert step.final_mask.astype(int).tolist() == [[0, 1, 0], [0, 1, 0]]
    assert step.mask.astype(int).tolist() == [[1, 0, 0], [0, 1, 0]]


@pytest.mark.parametrize("order", [1, -1])
def test_one_environment_may_have_masks_and_another_none(order: int) -> None:
    envs = [Scripted(2, masks=[[1, 0, 0], [0, 1, 1], [0, 0, 0]]), Scripted(2)][::order]
    rows = sync_envs(*envs)
    _, mask, masked = rows.reset(3, FLOAT)
    assert masked
    assert mask.astype(int).tolist() == [[1, 0, 0], [1, 1, 1]][::order]
    first, last = copied(rows.step([0, 0])), rows.step([0, 0])
    assert first.final_mask.astype(int).tolist() == [[0, 1, 1], [1, 1, 1]][::order]
    assert last.final_mask.all()
    assert last.mask.astype(int).tolist() == [[1, 0, 0], [1, 1, 1]][::order]


def test_a_mask_of_another_size_is_an_error_in_any_step() -> None:
    with pytest.raises(EnvironmentFailure, match=r"env=Name-v0: .*\(2,\).*3 actions"):
        started(Scripted(masks=[[1, 0]]))
    rows = started(Scripted(masks=[[1, 0, 0], [1, 0]]))
    with pytest.raises(EnvironmentFailure, match=r"env=Name-v0: .*\(2,\).*3 actions"):
        rows.step([0])


def test_closing_closes_every_environment() -> None:
    envs = Scripted(), Scripted()
    started(*envs).close()
    assert [env.closed for env in envs] == [1, 1]
