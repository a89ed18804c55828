from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from dqn_cli.arrays import Values, array_namespace, cast, first_above, searched, tensor

NUMBERS = np.array([-1.5, 0.0, 2.5])
KINDS = [
    pytest.param(NUMBERS, np, id="array"),
    pytest.param(torch.tensor(NUMBERS), torch, id="tensor"),
]
in_both_kinds = pytest.mark.parametrize(("values", "namespace"), KINDS)


@in_both_kinds
def test_values_have_a_namespace(values: Values, namespace: Any) -> None:
    assert array_namespace(values) is namespace


@in_both_kinds
@pytest.mark.parametrize("name", ["float32", "float64", "int64", "uint8", "bool"])
def test_a_dtype_has_the_same_name_in_numpy_and_torch(
    values: Values, namespace: Any, name: str
) -> None:
    values = abs(values)  # a negative number has no defined value as an unsigned one
    result = cast(values, name)
    assert type(result) is type(values)
    assert result.dtype == getattr(namespace, name)
    assert result.tolist() == np.abs(NUMBERS).astype(name).tolist()


@in_both_kinds
def test_casts_round_towards_zero(values: Values, namespace: Any) -> None:
    assert cast(values, "int64").tolist() == [-1, 0, 2]


@in_both_kinds
def test_values_take_the_dtype_of_others(values: Values, namespace: Any) -> None:
    others = namespace.ones(1, dtype=namespace.float32)
    result = cast(values, others.dtype)
    assert type(result) is type(values)
    assert result.dtype == others.dtype
    assert result.tolist() == values.tolist()


@in_both_kinds
def test_values_of_the_same_dtype_are_not_copied(values: Values, namespace: Any) -> None:
    assert cast(values, "float64") is values
    assert cast(values, values.dtype) is values


@in_both_kinds
def test_a_cast_does_not_change_the_values(values: Values, namespace: Any) -> None:
    cast(values, "float32")[:] = 7
    assert values.dtype == namespace.float64
    assert values.tolist() == NUMBERS.tolist() == [-1.5, 0, 2.5]


@pytest.mark.parametrize("dtype", ["u1", "i4", "i8", "f4", "f8", "?"])
def test_an_array_and_its_tensor_share_memory(dtype: str) -> None:
    array = np.zeros((2, 3), dtype)
    result = tensor(array)
    assert isinstance(result, torch.Tensor)
    assert result.data_ptr() == array.ctypes.data
    assert result.numpy().dtype == array.dtype
    array[1, 2] = 1
    assert result.tolist() == array.tolist()
    result[0, 0] = 1
    assert array.tolist() == [[1, 0, 0], [0, 0, 1]]


def test_a_tensor_stays_itself() -> None:
    values = torch.zeros(3)
    assert tensor(values) is values


SUMS = np.array([[0.0, 2.0, 2.0, 5.0], [1.0, 1.0, 4.0, 4.0]])


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_the_first_sum_above_is_returned_for_each_row(kind: Any) -> None:
    for rest, expected in (([0.0, 0.5], [1, 0]), ([2.0, 1.0], [3, 2]), ([4.9, 3.9], [3, 2])):
        assert first_above(kind(SUMS), kind(rest)).tolist() == expected


@pytest.mark.parametrize("kind", [np.asarray, torch.tensor])
def test_several_thresholds_are_searched_in_each_row(kind: Any) -> None:
    rest = [[0.0, 1.9, 2.0], [0.5, 1.0, 3.9]]
    assert searched(kind(SUMS), kind(rest)).tolist() == [[1, 1, 3], [0, 2, 2]]
