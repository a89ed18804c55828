from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from dqn_cli.compiling.call_inputs import SMALL, CallInputs, flatten, nest


class Pair(NamedTuple):
    """Two values."""

    left: Any
    right: Any = None


def numbers(inputs: CallInputs) -> list[Any]:
    return [tensor.tolist() for tensor in inputs.tensors]


def test_nested_values_are_flattened_in_order_and_nested_again() -> None:
    nested = (torch.tensor(1), Pair(np.array(2), None), (torch.tensor(3), Pair(torch.tensor(4))))
    flat = flatten(nested)
    assert [int(tensor) for tensor in flat] == [1, 2, 3, 4]
    again = nest(nested, iter(flat))
    assert isinstance(again[1], Pair)
    assert again[1].right is None
    assert flatten(again) == flat


def test_fixed_tensors_come_first_and_share_their_memory() -> None:
    fixed = torch.zeros(2)
    inputs = CallInputs((fixed,), (torch.ones(1),))
    fixed += 7
    assert numbers(inputs) == [[7, 7], [1]]
    assert inputs.take((torch.full((1,), 5.0),))
    assert numbers(inputs) == [[7, 7], [5]]


def test_small_arrays_are_copied_so_that_the_caller_may_change_them() -> None:
    array = np.array([1.0, 2.0])
    inputs = CallInputs((), (array,))
    memory = inputs.tensors[0].data_ptr()
    array[:] = 9
    assert numbers(inputs) == [[1, 2]]
    assert inputs.take((array,))  # the same object with other numbers
    assert numbers(inputs) == [[9, 9]]
    assert inputs.tensors[0].data_ptr() == memory


def test_large_arrays_share_their_memory() -> None:
    arrays = np.zeros(SMALL // 8 + 1), np.ones(SMALL // 8 + 1)
    inputs = CallInputs((), (arrays[0],))
    assert inputs.tensors[0].data_ptr() == arrays[0].ctypes.data
    assert inputs.take((arrays[1],))
    assert inputs.tensors[0].data_ptr() == arrays[1].ctypes.data


def test_an_array_with_strides_of_its_own_is_read_rightly() -> None:
    array = np.arange(6.0).reshape(2, 3)  # [2, 3]
    inputs = CallInputs((), (torch.zeros(3, 2, dtype=torch.float64),))
    for _ in range(2):  # a tensor that had to be copied must be copied in each call
        assert inputs.take((torch.from_numpy(array).t(),))
        assert numbers(inputs) == [array.T.tolist()]
        array += 10


def test_a_tensor_that_comes_again_is_read_from_its_own_memory() -> None:
    pair = Pair(torch.zeros(1), Pair(torch.zeros(1)))
    inputs = CallInputs((), (pair, np.zeros(1)))
    pair.left[:], pair.right.left[:] = 3, 4
    assert inputs.take((pair, np.ones(1)))
    assert numbers(inputs) == [[3], [4], [1]]
    assert inputs.take((Pair(torch.ones(1), pair.right), np.zeros(1)))
    assert numbers(inputs) == [[1], [4], [0]]
    assert inputs.take((pair, np.zeros(1)))  # the first one again
    assert numbers(inputs) == [[3], [4], [0]]


def test_an_array_inside_a_tuple_that_comes_again_is_read_again() -> None:
    pair = Pair(np.zeros(1), torch.zeros(1))
    inputs = CallInputs((), (pair,))
    pair.left[:] = 5
    assert inputs.take((pair,))
    assert numbers(inputs) == [[5], [0]]


def test_a_tensor_may_take_the_place_of_an_array_and_an_array_that_of_a_tensor() -> None:
    inputs = CallInputs((), (np.zeros(1), torch.zeros(1)))
    assert inputs.take((torch.ones(1, dtype=torch.float64), np.ones(1, np.float32)))
    assert numbers(inputs) == [[1], [1]]
    assert inputs.take((np.full(1, 2.0), torch.full((1,), 2.0)))
    assert numbers(inputs) == [[2], [2]]


@pytest.mark.parametrize(
    "other",
    [
        (np.zeros(3), torch.zeros(2), None),
        (np.zeros(2, np.float32), torch.zeros(2), None),
        (np.zeros(2), torch.zeros(3), None),
        (np.zeros(2), torch.zeros(2, dtype=torch.float64), None),
        (np.zeros(2), torch.zeros(2), torch.zeros(1)),
        (np.zeros(2), None, None),
        (None, torch.zeros(2), None),
    ],
)
def test_other_types_and_shapes_are_not_taken(other: tuple[Any, ...]) -> None:
    first = (np.zeros(2), torch.zeros(2), None)
    inputs = CallInputs((), first)
    assert not inputs.take(other)
    assert inputs.take(first)
