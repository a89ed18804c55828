from __future__ import annotations

import math

import numpy as np
import pytest

from dqn_cli.agent.spaces import Spaces


def spaces(
    shape: tuple[int, ...] = (2,),
    parts: tuple[int, ...] = (3,),
    starts: tuple[int, ...] = (0,),
    composite: bool = False,
) -> Spaces:
    return Spaces(shape, (), (), False, parts, starts, composite, 0)


@pytest.mark.parametrize(("shape", "size"), [((), 1), ((4,), 4), ((2, 3), 6), ((4, 4, 2), 32)])
def test_an_observations_size_is_its_number_of_elements(shape: tuple[int, ...], size: int) -> None:
    assert spaces(shape=shape).observation_size == size


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_one_bound_for_all_is_that_of_each_element(shape: tuple[int, ...]) -> None:
    size = math.prod(shape)
    described = spaces(shape=shape)._replace(low=(-1.0,), high=(255.0,))
    assert described.bounds == ([-1.0] * size, [255.0] * size)
    each = described._replace(low=(-1.0,) * size, high=(255.0,) * size)
    assert each.bounds == described.bounds


def test_each_element_keeps_a_bound_of_its_own() -> None:
    described = spaces()._replace(low=(-1.0, -math.inf), high=(7.0, 8.0))
    assert described.bounds == ([-1.0, -math.inf], [7.0, 8.0])


@pytest.mark.parametrize(("parts", "count"), [((3,), 3), ((2, 3), 6), ((2, 3, 4), 24)])
def test_there_is_an_action_for_each_combination(parts: tuple[int, ...], count: int) -> None:
    assert spaces(parts=parts).actions == count


@pytest.mark.parametrize("start", [0, 5, -1])
def test_a_simple_action_is_a_plain_int_counted_from_its_start(start: int) -> None:
    actions = [spaces(starts=(start,)).action(index) for index in range(3)]
    assert actions == [start, start + 1, start + 2]
    assert all(type(action) is int for action in actions)


def test_composite_actions_run_through_all_combinations_in_order() -> None:
    described = spaces(parts=(2, 3), starts=(10, -1), composite=True)
    actions = [np.asarray(described.action(index)).tolist() for index in range(6)]
    assert actions == [[10, -1], [10, 0], [10, 1], [11, -1], [11, 0], [11, 1]]


def test_a_composite_action_of_one_part_is_still_an_array() -> None:
    action = spaces(parts=(3,), composite=True).action(2)
    assert isinstance(action, np.ndarray)
    assert action.tolist() == [2]


@pytest.mark.parametrize("index", [3, 100])
def test_an_action_that_does_not_exist_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match="out of bounds"):
        spaces().action(index)


@pytest.mark.parametrize(
    ("other", "fits"),
    [
        (spaces(starts=(4,))._replace(low=(-9.0,)), True),  # other values, as many of them
        (spaces(shape=(3,)), False),
        (spaces(parts=(4,)), False),
    ],
)
def test_spaces_fit_if_a_network_has_the_same_inputs_and_outputs(other: Spaces, fits: bool) -> None:
    assert spaces().fits(other) is fits
    assert other.fits(spaces()) is fits
