from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dqn_cli.data.checks import bytes_of, check_shape, flags, floats, numbers, whole_numbers
from dqn_cli.data.columns import Column, DataError


def column(values: Any) -> Column:
    return Column("it", np.array(values))


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: numbers("f", column([1.0, np.nan])), "f: column it, row 1: nan is not a finite"),
        (lambda: numbers("f", column([[1, 2], [3, np.inf]])), "row 1: inf is not a finite"),
        (lambda: numbers("f", column(["a"])), "column it has type <U1, not numbers"),
        (lambda: whole_numbers("f", column([0, 3]), 0, 2), "row 1: 3 is not a whole number from 0"),
        (lambda: whole_numbers("f", column([0.5]), 0, 2), "row 0: 0.5 is not a whole number"),
        (lambda: flags("f", column([0, 1, 2])), "row 2: 2 is neither true nor false"),
        (lambda: floats("f", column([0, 1e39]), "float32"), "row 1: 1e+39 is too large"),
        (lambda: bytes_of("f", column([0, 256])), "row 1: 256 is not a whole number from 0 to 255"),
        (
            lambda: check_shape("f", column([[1, 2]]), [3], "there are"),
            "shape [2], and there are [3]",
        ),
    ],
)
def test_the_first_wrong_row_is_named(check: Any, message: str) -> None:
    with pytest.raises(DataError) as error:
        check()
    assert message in str(error.value)


def test_right_values_have_their_types() -> None:
    assert whole_numbers("f", column([1.0, 2.0]), 0, 2).dtype == np.int64
    assert flags("f", column([0, 1])).tolist() == [False, True]
    assert floats("f", column([1, 2]), "float64").dtype == np.float64
    assert bytes_of("f", column([255.0])).dtype == np.uint8
