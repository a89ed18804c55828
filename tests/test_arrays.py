from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dqn_cli.arrays import Values, cast, first_above, library, searched, tensor

NUMBERS = np.array([-1.5, 0.0, 2.5])
KINDS = [
    pytest.param(NUMBERS, np, id="array"),
    pytest.param(torch.tensor(NUMBERS), torch, id="tensor"),
]
in_both_kinds = pytest.mark.parametrize(("values", "of"), KINDS)


@in_both_kinds
def test_values_know_their_library(values: Values, of: Any) -> None:
    assert library(values) is of


@in_both_kinds
@pytest.mark.parametrize("name", ["float32", "float64", "int64", "uint8", "bool"])
def test_a_type_has_the_same_name_in_both_libraries(values: Values, of: Any, name: str) -> None:
    values = abs(values)  # what a negative number is as an unsigned one is nobody's promise
    found = cast(values, name)
    assert type(found) is type(values)
    assert found.dtype == getattr(of, name)
    assert found.tolist() == np.abs(NUMBERS).astype(name).tolist()


@in_both_kinds
def test_numbers_are_cut_towards_zero(values: Values, of: Any) -> None:
    assert cast(values, "int64").tolist() == [-1, 0, 2]


@in_both_kinds
def test_values_take_the_type_of_others(values: Values, of: Any) -> None:
    others = of.ones(1, dtype=of.float32)
    found = cast(values, others.dtype)
    assert type(found) is type(values)
    assert found.dtype == others.dtype
    assert found.tolist() == values.tolist()


@in_both_kinds
def test_what_has_the_type_already_is_not_copied(values: Values, of: Any) -> None:
    assert cast(values, "float64") is values
    assert cast(values, values.dtype) is values


@in_both_kinds
def test_a_cast_leaves_the_values_as_they_were(values: Values, of: Any) -> None:
    cast(values, "float32")[:] = 7
    assert values.dtype == of.float64
    assert values.tolist() == NUMBERS.tolist() == [-1.5, 0, 2.5]


@pytest.mark.parametrize("dtype", ["u1", "i4", "i8", "f4", "f8", "?"])
def test_an_array_as_a_tensor_is_on_the_same_memory(dtype: str) -> None:
    array = np.zeros((2, 3), dtype)
    found = tensor(array)
    assert isinstance(found, torch.Tensor)
    assert found.data_ptr() == array.ctypes.data
    assert found.numpy().dtype == array.dtype
    array[1, 2] = 1
    assert found.tolist() == array.tolist()
    found[0, 0] = 1
    assert array.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_a_tensor_as_a_tensor_is_itself() -> None:
    values = torch.zeros(3)
    assert tensor(values) is values


SUMS = np.array([[0.0, 2.0, 2.0, 5.0], [1.0, 1.0, 4.0, 4.0]])


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_the_first_above_is_found_in_each_row(kind: Any) -> None:
    for rest, expected in (([0.0, 0.5], [1, 0]), ([2.0, 1.0], [3, 2]), ([4.9, 3.9], [3, 2])):
        assert first_above(kind(SUMS), kind(rest)).tolist() == expected


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_several_are_searched_for_in_each_row(kind: Any) -> None:
    rest = [[0.0, 1.9, 2.0], [0.5, 1.0, 3.9]]
    assert searched(kind(SUMS), kind(rest)).tolist() == [[1, 1, 3], [0, 2, 2]]
