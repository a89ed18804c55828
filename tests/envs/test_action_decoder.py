from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from dqn_cli.envs.action_decoder import ActionDecoder

NESTED = spaces.Dict(
    gear=spaces.Discrete(3, start=-1),
    wheels=spaces.Tuple(
        [spaces.MultiBinary(2), spaces.MultiDiscrete([[2], [3]], start=[[5], [0]])]
    ),
)


def plain(action: Any) -> Any:
    if isinstance(action, dict):
        return {key: plain(value) for key, value in action.items()}
    if isinstance(action, tuple):
        return tuple(map(plain, action))
    return np.asarray(action).tolist()


@pytest.mark.parametrize(
    ("space", "count", "first", "last"),
    [
        (spaces.Discrete(3), 3, 0, 2),
        (spaces.Discrete(3, start=-1), 3, -1, 1),
        (spaces.MultiDiscrete([2, 3], start=[1, -2]), 6, [1, -2], [2, 0]),
        (spaces.MultiBinary([2, 2]), 16, [[0, 0], [0, 0]], [[1, 1], [1, 1]]),
        (spaces.Tuple([spaces.Discrete(2), spaces.Discrete(3)]), 6, (0, 0), (1, 2)),
        (
            NESTED,
            3 * 4 * 6,
            {"gear": -1, "wheels": ([0, 0], [[5], [0]])},
            {"gear": 1, "wheels": ([1, 1], [[6], [2]])},
        ),
    ],
)
def test_every_action_is_in_the_space_and_no_two_are_alike(
    space: spaces.Space[Any], count: int, first: Any, last: Any
) -> None:
    decode = ActionDecoder(space)
    actions = [decode(index) for index in range(count)]
    assert decode.count == count
    assert all(action in space for action in actions)
    assert len({str(plain(action)) for action in actions}) == count
    assert (plain(actions[0]), plain(actions[-1])) == (first, last)


def test_the_last_part_changes_first() -> None:
    decode = ActionDecoder(spaces.Tuple([spaces.Discrete(2), spaces.Discrete(2)]))
    assert [plain(decode(index)) for index in range(4)] == [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("start", [0, 5, -1])
def test_a_simple_action_is_a_plain_int_counted_from_its_start(start: int) -> None:
    decode = ActionDecoder(spaces.Discrete(3, start=start))
    actions = [decode(np.int64(index)) for index in range(3)]
    assert actions == [start, start + 1, start + 2]
    assert all(type(action) is int for action in actions)
    assert decode.is_identity is (start == 0)


@pytest.mark.parametrize("space", [spaces.Discrete(3), spaces.MultiDiscrete([3])])
@pytest.mark.parametrize("index", [3, 100, -5])
def test_an_action_that_does_not_exist_is_refused(space: spaces.Space[Any], index: int) -> None:
    with pytest.raises(ValueError, match=r"no action|out of bounds|invalid entry"):
        ActionDecoder(space)(index)


@pytest.mark.parametrize(
    ("space", "count"),
    [(spaces.MultiDiscrete([100, 101]), 10_100), (spaces.MultiBinary(14), 16_384)],
)
def test_too_many_combinations_are_an_error_with_their_number(
    space: spaces.Space[Any], count: int
) -> None:
    with pytest.raises(ValueError, match=rf"{count} combinations.*10000"):
        ActionDecoder(space)


def test_many_actions_that_are_not_combined_are_possible() -> None:
    assert ActionDecoder(spaces.Discrete(20_000)).count == 20_000


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1, 1, (2,), np.float32),
        spaces.Tuple([spaces.Discrete(2), spaces.Box(-1, 1, (2,), np.float32)]),
    ],
)
def test_actions_that_cannot_be_counted_are_an_error_that_shows_the_space(
    space: spaces.Space[Any],
) -> None:
    with pytest.raises(ValueError, match=r"the action space is .*Box.* can be counted"):
        ActionDecoder(space)


@pytest.mark.parametrize(
    ("space", "mask", "expected"),
    [
        (spaces.MultiDiscrete([2, 3]), [1, 0, 1, 1, 0], [1, 1, 0, 0, 0, 0]),
        (spaces.MultiDiscrete([2, 3]), [0, 1, 0, 0, 1], [0, 0, 0, 0, 0, 1]),
        (spaces.MultiDiscrete([2, 3]), [1, 0, 1, 1, 0, 1], [1, 0, 1, 1, 0, 1]),  # of all actions
        (spaces.MultiBinary(3), [1, 1, 1, 0, 0, 1], [0, 1, 0, 0, 0, 1, 0, 0]),
        (spaces.MultiDiscrete([2, 2]), np.eye(2), [1, 0, 0, 1]),  # of all actions
        (spaces.MultiDiscrete([2, 2]), [[1, 0], [0, 1]], [0, 1, 0, 0]),
        (spaces.Discrete(3), [1, 0, 1], [1, 0, 1]),
        (spaces.MultiDiscrete([2, 2]), ([1, 0], np.array([0, 1])), [0, 1, 0, 0]),  # of the parts
        (spaces.MultiDiscrete([2, 3]), [[True, False], [True, False, True]], [1, 0, 1, 0, 0, 0]),
        (spaces.MultiDiscrete([2, 3]), [1, 0], [1, 0]),  # `legal_actions` says what is wrong
    ],
)
def test_masks_of_parts_become_one_of_all_actions(
    space: spaces.Space[Any], mask: Any, expected: list[int]
) -> None:
    assert ActionDecoder(space).joint_mask(mask).astype(int).tolist() == expected


def test_a_mask_of_all_actions_or_of_their_parts_is_refused_where_it_may_be_either() -> None:
    with pytest.raises(ValueError, match=r"of 4 values may be .* an array of shape \[2, 2\]"):
        ActionDecoder(spaces.MultiDiscrete([2, 2])).joint_mask([1, 0, 0, 1])
