from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scripted import Scripted

from dqn_cli.envs.env_config import EnvironmentFailure
from dqn_cli.envs.sync_envs import SyncEnvs, legal
from dqn_cli.replay.stream import EnvStep

FLOAT = np.dtype(np.float32)


def serial(*envs: Scripted) -> SyncEnvs:
    return SyncEnvs("Name-v0", [lambda env=env: env for env in envs])


def begun(*envs: Scripted) -> SyncEnvs:
    rows = serial(*envs)
    rows.reset(3, FLOAT)
    return rows


def copied(step: EnvStep) -> EnvStep:
    return EnvStep(*(array.copy() for array in step))


def equal(one: EnvStep, other: EnvStep) -> None:
    for mine, yours in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, yours)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_first_observations_are_in_the_type_that_is_asked_for(dtype: str) -> None:
    obs, mask, masked = serial(Scripted(process=4), Scripted(process=5)).reset(3, np.dtype(dtype))
    assert obs.dtype == dtype
    assert obs.tolist() == [[0, 0, 4], [0, 0, 5]]
    assert mask.dtype == bool
    assert mask.tolist() == [[True] * 3] * 2
    assert not masked


def test_later_observations_are_of_the_same_type() -> None:
    rows = begun(Scripted(length=1))
    step = rows.step([0])
    assert step.obs.dtype == step.final_obs.dtype == FLOAT


def test_its_space_is_that_of_one_environment() -> None:
    first, second = Scripted(), Scripted()
    assert serial(first, second).observation_space is first.observation_space


def test_each_environment_gets_its_own_action() -> None:
    envs = Scripted(), Scripted(), Scripted()
    rows = begun(*envs)
    for actions in ([0, 1, 2], [2, 2, 1]):
        rows.step(actions)
    assert [env.taken for env in envs] == [[0, 2], [1, 2], [2, 1]]


def test_each_environment_needs_an_action() -> None:
    with pytest.raises(ValueError, match="zip"):
        begun(Scripted(), Scripted()).step([0])


@pytest.mark.parametrize("truncates", [False, True])
def test_answers_are_arrays_of_numbers_and_truths(truncates: bool) -> None:
    rows = begun(Scripted(2, truncates), Scripted(3, truncates))
    first, second = copied(rows.step([0, 0])), rows.step([0, 0])
    assert second.reward.dtype == np.float64
    assert second.reward.tolist() == [2, 2]
    assert first.ended.tolist() == [False, False]
    assert second.terminated.dtype == second.truncated.dtype == bool
    assert second.terminated.tolist() == [not truncates, False]
    assert second.truncated.tolist() == [truncates, False]


def test_only_what_ended_starts_anew() -> None:
    rows = begun(Scripted(length=1, process=4), Scripted(length=2, process=5))
    step = rows.step([0, 0])
    assert step.final_obs.tolist() == [[0, 1, 4], [0, 1, 5]]
    assert step.obs.tolist() == [[1, 0, 4], [0, 1, 5]]
    step = rows.step([0, 0])
    assert step.final_obs.tolist() == [[1, 1, 4], [0, 2, 5]]
    assert step.obs.tolist() == [[2, 0, 4], [1, 0, 5]]


def test_where_nothing_ended_the_final_observation_is_the_next_one() -> None:
    rows = begun(Scripted(length=2))
    step = rows.step([0])
    assert step.final_obs is step.obs
    assert rows.step([0]).final_obs is not step.obs


@pytest.mark.parametrize("masks", [None, [[1, 0, 0], [0, 1, 0], [0, 0, 1]]])
def test_answers_stay_as_they_were(masks: list[list[int]] | None) -> None:
    rows = serial(Scripted(2, masks=masks), Scripted(1, masks=masks))
    start = rows.reset(3, FLOAT)[:2]
    kept_start = [array.copy() for array in start]
    steps = []
    for _ in range(5):
        step = rows.step([0, 0])
        steps.append((step, copied(step)))
    for step, kept in steps:
        equal(step, kept)
    assert all(map(np.array_equal, start, kept_start))


def test_masks_are_of_the_final_state_and_of_the_next_one() -> None:
    masks = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    rows = serial(Scripted(1, masks=masks), Scripted(2, masks=masks))
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
    rows = serial(*envs)
    _, mask, masked = rows.reset(3, FLOAT)
    assert masked
    assert mask.astype(int).tolist() == [[1, 0, 0], [1, 1, 1]][::order]
    first, last = copied(rows.step([0, 0])), rows.step([0, 0])
    assert first.final_mask.astype(int).tolist() == [[0, 1, 1], [1, 1, 1]][::order]
    assert last.final_mask.all()
    assert last.mask.astype(int).tolist() == [[1, 0, 0], [1, 1, 1]][::order]


def test_a_mask_of_another_size_is_refused_whenever_it_comes() -> None:
    with pytest.raises(EnvironmentFailure, match=r"env=Name-v0: .*\(2,\).*3 actions"):
        begun(Scripted(masks=[[1, 0]]))
    rows = begun(Scripted(masks=[[1, 0, 0], [1, 0]]))
    with pytest.raises(EnvironmentFailure, match=r"env=Name-v0: .*\(2,\).*3 actions"):
        rows.step([0])


@pytest.mark.parametrize("mask", [[1, 0, 1], np.array([1, 0, 1], np.int8), (True, False, True)])
def test_what_is_legal_may_be_said_in_any_way(mask: Any) -> None:
    answer: NDArray[Any] = legal({"action_mask": mask}, 3, "Name-v0")
    assert answer.dtype == bool
    assert answer.tolist() == [True, False, True]


@pytest.mark.parametrize("info", [{}, {"action_mask": [0, 0, 0]}, {"mask": [1, 0, 0]}])
def test_where_nothing_is_said_or_legal_all_actions_are(info: dict[str, Any]) -> None:
    assert legal(info, 3, "Name-v0").tolist() == [True] * 3


@pytest.mark.parametrize("mask", [1, [], [1], [[1, 1, 1]], [1, 1, 1, 1]])
def test_no_other_shape_is_taken_for_a_mask(mask: Any) -> None:
    with pytest.raises(EnvironmentFailure, match="action_mask has shape"):
        legal({"action_mask": mask}, 3, "Name-v0")


def test_closing_closes_every_environment() -> None:
    envs = Scripted(), Scripted()
    begun(*envs).close()
    assert [env.closed for env in envs] == [1, 1]
